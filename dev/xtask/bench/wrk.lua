-- The requests of cargo xtask bench. Usage: wrk ... -s wrk.lua URL -- MODE [NUMBER]
-- Prints one line: requests, microseconds, errors, and latencies in microseconds (p50, p99, p99.9).

function init(args)
  local mode, number = args[1], tonumber(args[2] or "0")
  if mode == "close" then
    wrk.headers["Connection"] = "close"
  elseif mode == "post" then
    wrk.method = "POST"
    wrk.body = string.rep("x", number)
  elseif mode == "pipeline" then
    local one = wrk.format()
    local all = string.rep(one, number)
    request = function() return all end
  end
end

function done(summary, latency)
  local errors = summary.errors
  print(string.format("RESULT %d %d %d %d %d %d", summary.requests, summary.duration,
    errors.status + errors.timeout,
    latency:percentile(50), latency:percentile(99), latency:percentile(99.9)))
end
