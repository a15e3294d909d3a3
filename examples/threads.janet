###
### One program that serves on several threads, each with its own listener of the same port.
###
### The system spreads new connections over the listeners: Linux, DragonFly and FreeBSD do, macOS does not. Threads share
### nothing but thread channels, so the main thread takes the signals and has the others drain.
### Usage: janet examples/threads.janet [port] [threads]
###

(import kqnet)
(import kqnet/http)

(defn- serve
  ``Serves in a thread until something comes from `stop`. Gives an error, or nil, to `started`. The arguments and this function
  are copied to the thread.``
  [[number port started stop ended]]
  (defn handler [_] {:body (string "thread " number "\n")})
  (def listener
    (try
      (http/server handler "127.0.0.1" port :reuse-port true)
      ([err] (ev/give started (string err)) nil)))
  (unless listener (break))
  (ev/give started nil)
  (ev/take stop)
  (kqnet/drain listener 30 :cancel true)
  (ev/give ended number))

(defn main
  [_ &opt port threads]
  (def port (scan-number (or port "8000")))
  (def threads (scan-number (or threads (string (os/cpu-count 2)))))
  (def [started stop ended] [(ev/thread-chan threads) (ev/thread-chan threads) (ev/thread-chan threads)])
  (def signals (ev/chan 2))
  (each signal [:int :term]
    (os/sigaction signal (fn [] (ev/give signals signal)) true))
  (for number 1 (inc threads)
    (ev/thread serve [number port started stop ended] :n))
  (repeat threads
    (when-let [err (ev/take started)]
      (eprint err)
      (os/exit 1)))
  (print "http://127.0.0.1:" port "/")
  (flush)
  (ev/take signals)
  (repeat threads (ev/give stop true))
  (repeat threads (ev/take ended))
  # Signals have handlers in this thread only, so it must be the last one to end.
  (os/exit 0))
