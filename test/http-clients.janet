###
### kqnet/http with HTTP clients of other projects: curl, Python's http.client, wrk.
###

(import ./support :as t)
(import ./support/programs :as programs)
(t/need-spork)
(import kqnet)
(import kqnet/http)

(def- host "127.0.0.1")

(def- place (t/scratch "clients"))
(os/mkdir place)
(defn- in-place [name] (string place "/" name))

(def- text "0123456789abcdefghijklmnopqrstuvwxyz")
(spit (in-place "a.txt") text)
# Sun, 09 Sep 2001 01:46:40 GMT
(os/touch (in-place "a.txt") 1000000000 1000000000)

(def- mebibyte 1048576)
(def- large (string/repeat "0123456789abcdef" (div (* 2 mebibyte) 16)))
(spit (in-place "large") large)

(defn- counted
  "The length of a body that is read in pieces."
  [req]
  (var size 0)
  (each piece (http/body-chunks req) (+= size (length piece)))
  size)

(def- handler
  (http/router
    {"/" {:body "hello"}
     "/method" (fn [req] {:body (req :method)})
     "/echo" (fn [req] {:body (or (http/read-body req) "none")})
     "/count" (fn [req] {:body (string (counted req))})
     "/ignore" {:body "ignored"}
     "/stream" (fn [_] {:body (coro (repeat 3 (yield "piece ")))})
     "/fail" (fn [_] (error "meant to be raised"))
     "/cut" (fn [_] {:body (coro (yield "piece") (error "meant to be raised"))})
     "/files/a.txt" (http/static place :prefix "/files")
     "/files/large" (http/static place :prefix "/files")}))

(defmacro- with-server
  "Runs a body with a server and the URL of its root."
  [[server url & options] & body]
  ~(with [,server (http/server handler host 0 :on-error (fn [&] nil) ,;options)]
     (def ,url (string "http://" host ":" (t/port ,server)))
     ,;body))

(defn- accepted [server] ((kqnet/stats server) :accepted))

# curl.

(defn- curl
  "Runs curl. Returns its exit status, its output, and what it says with --verbose."
  [& args]
  (def [path] (programs/need "curl"))
  (with [process (t/start path "--silent" "--verbose" "--noproxy" "*" "--max-time" "30" ;args)]
    (def status (:wait process))
    (t/wait-until "the end of its output" |(and (process :out-ended) (process :err-ended)))
    [status (string (process :out)) (string (process :err))]))

(defn- fetched
  "What curl prints, if it succeeds."
  [& args]
  (def [status out err] (curl ;args))
  (t/same 0 status err)
  out)

(t/test "curl: several requests on one connection"
  (with-server [server url]
    (t/same "hellohellonone" (fetched url (string url "/") (string url "/echo")))
    (t/same "piece piece piece hello" (fetched (string url "/stream") url))
    # One connection for each run of curl.
    (t/same 2 (accepted server))))

(t/test "curl: the connection is kept after every kind of response"
  (with-server [server url]
    (t/same "Not FoundhelloMOVEhello"
            (fetched (string url "/nowhere") url "--next" "--silent" "--noproxy" "*" "-X" "MOVE" (string url "/method")
                     "--next" "--silent" "--noproxy" "*" url))
    (t/same 1 (accepted server))))

(t/test "curl: HEAD"
  (with-server [server url]
    (def head (fetched "--head" url "--next" "--silent" "--noproxy" "*" "--head" (string url "/files/a.txt")))
    (t/check (string/has-prefix? "HTTP/1.1 200 OK\r\n" head) head)
    (t/check (string/find "Content-Length: 5\r\n" head) head)
    (t/check (string/find "Content-Length: 36\r\n" head) head)
    (t/same 1 (accepted server))))

(t/test "curl: HTTP/1.0, with and without keep-alive"
  (with-server [server url]
    (t/same "hellohello" (fetched "--http1.0" url url))
    (t/same 2 (accepted server))
    (t/same "hellohello" (fetched "--http1.0" "--header" "Connection: keep-alive" url url))
    (t/same 3 (accepted server))
    (t/same "piece piece piece " (fetched "--http1.0" (string url "/stream")))))

(t/test "curl: Range"
  (with-server [server url]
    (def file (string url "/files/a.txt"))
    (t/same "01234" (fetched "--range" "0-4" file))
    (t/same "wxyz" (fetched "--range" "-4" file))
    (t/same "uvwxyz" (fetched "--range" "30-" file))
    (t/same "416" (fetched "--range" "36-" "--write-out" "%{http_code}" file))))

(t/test "curl: an interrupted download is resumed"
  (with-server [server url]
    (def path (in-place "broken-off"))
    (spit path (string/slice large 0 1000000))
    (fetched "--continue-at" "-" "--output" path (string url "/files/large"))
    (t/check (= large (string (slurp path))) "the same file")))

(t/test "curl: a file that has not changed is not sent again"
  (with-server [server url]
    (def file (string url "/files/a.txt"))
    (t/same "304" (fetched "--time-cond" "Sun, 09 Sep 2001 01:46:40 GMT" "--write-out" "%{http_code}" file))
    (t/same (string text "200")
            (fetched "--time-cond" "Sun, 09 Sep 2001 01:46:39 GMT" "--write-out" "%{http_code}" file))))

(t/test "curl: an upload of 2 MiB waits for a 100"
  (with-server [server url :max-body (* 4 mebibyte)]
    (def upload ["--data-binary" (string "@" (in-place "large")) "--header" "Expect: 100-continue"])
    (each path ["/count" "/echo"]
      (def [status out err] (curl ;upload (string url path)))
      (t/same 0 status)
      (t/check (string/find "HTTP/1.1 100 Continue" err) "the 100")
      (t/check (= out (if (= path "/count") "2097152" large)) path))))

(t/test "curl: an upload that waits for a 100 and is refused is not sent"
  (with-server [server url]
    (def [status out err]
      (curl "--data-binary" (string "@" (in-place "large")) "--header" "Expect: 100-continue"
            "--write-out" " %{http_code} %{size_upload}" (string url "/count")))
    (t/same [0 "request body is too large\n 413 0"] [status out])
    (t/check (not (string/find "100 Continue" err)) "no 100")))

(t/test "curl: an upload that is sent at once, and refused or not read, gets its answer"
  (with-server [server url :max-body (* 4 mebibyte)]
    (def upload ["--data-binary" (string "@" (in-place "large")) "--header" "Expect:" "--write-out" " %{http_code}"])
    (t/same "ignored 200" (fetched ;upload (string url "/ignore"))))
  (with-server [server url :max-body 1000]
    # Only some kilobytes, since curl may see the end of the connection before it has sent all of a large body.
    (t/same "request body is too large\n 413"
            (fetched "--data-binary" text "--data-binary" (string/slice large 0 10000) "--header" "Expect:"
                     "--write-out" " %{http_code}" (string url "/count")))))

(t/test "curl: chunked uploads"
  (with-server [server url :max-body (* 4 mebibyte)]
    (def chunked ["--header" "Transfer-Encoding: chunked" "--data-binary" (string "@" (in-place "large"))])
    (t/same "2097152" (fetched ;chunked (string url "/count")))
    (t/check (= large (fetched ;chunked "--header" "Expect:" (string url "/echo"))) "the same")
    # The connection is kept, too.
    (t/same "2097152hello" (fetched ;chunked (string url "/count") "--next" "--silent" "--noproxy" "*" url))
    (t/same 3 (accepted server))))

(t/test "curl: a form"
  (with-server [server url]
    (t/same "a=b&c=d+e" (fetched "--data" "a=b" "--data" "c=d+e" (string url "/echo")))
    (def sent (fetched "--form" (string "file=@" (in-place "a.txt")) (string url "/echo")))
    (t/check (string/find text sent) "the file in the body")))

(t/test "curl: errors of handlers"
  (with-server [server url]
    (t/same "Internal Server Error\n 500" (fetched "--write-out" " %{http_code}" (string url "/fail")))
    # 18: the response is only a part. 56: the connection was reset.
    (def [status out] (curl (string url "/cut")))
    (t/same "piece" out)
    (t/check (has-value? [18 56] status) (string "an error of curl's, not " status))))

(t/test "curl: a unix socket"
  (def path (in-place "socket"))
  (with [server (http/server handler :unix path)]
    (t/same "hellohello" (fetched "--unix-socket" path "http://h/" "http://h/"))
    (t/same 1 (accepted server))))

# Python.

(def- python-program
  ```
  import http.client, io, sys

  port = int(sys.argv[1])
  conn = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
  conn.connect()
  sock = conn.sock

  def ask(method, path, body=None, headers={}, **more):
      conn.request(method, path, body, headers, **more)
      response = conn.getresponse()
      data = response.read()
      assert conn.sock is sock, (method, path, "another connection")
      return response.status, data, response

  for _ in range(3):
      assert ask("GET", "/")[:2] == (200, b"hello")
      status, data, response = ask("HEAD", "/")
      assert (status, data, response.getheader("Content-Length")) == (200, b"", "5")
      assert ask("POST", "/echo", b"a body")[:2] == (200, b"a body")
      assert ask("PUT", "/echo", b"")[:2] == (200, b"")
      assert ask("POST", "/echo", iter([b"in ", b"pieces"]), {"Transfer-Encoding": "chunked"},
                 encode_chunked=True)[:2] == (200, b"in pieces")
      status, data, response = ask("GET", "/stream")
      assert (status, data, response.chunked) == (200, b"piece piece piece ", True)
      assert ask("POST", "/ignore", b"x" * 10000)[:2] == (200, b"ignored")
      assert ask("GET", "/nowhere")[:2] == (404, b"Not Found")
      status, data, response = ask("GET", "/files/a.txt", headers={"Range": "bytes=0-4"})
      assert (status, data) == (206, b"01234")
      status, data, _ = ask("GET", "/files/a.txt", headers={"If-None-Match": response.getheader("ETag")})
      assert (status, data) == (304, b"")
      assert ask("POST", "/count", b"x" * 1000000)[:2] == (200, b"1000000")

  # The last response closes the connection.
  conn.request("GET", "/", headers={"Connection": "close"})
  response = conn.getresponse()
  assert response.read() == b"hello"
  assert response.getheader("Connection") == "close"
  assert conn.sock is None

  # The next request connects again.
  conn.request("GET", "/")
  assert conn.getresponse().read() == b"hello"

  # A response that is cut off is noticed.
  conn.request("GET", "/cut")
  try:
      conn.getresponse().read()
      assert False, "no error"
  except http.client.IncompleteRead as error:
      assert error.partial == b"piece", error.partial
  print("done")
  ```)

(t/test "Python's http.client: several requests on one connection"
  (def [python] (programs/need "python3"))
  (with-server [server url]
    (t/same [0 "done\n"] (programs/run python "-c" python-program (string (t/port server))))
    (t/same 2 (accepted server))))

# wrk.

(defn- wrk
  "Runs wrk for a second. Fails if there are errors, and returns how many requests were answered."
  [url & args]
  (def [path] (programs/need "wrk"))
  (def [status out] (programs/run path "--threads" "1" "--connections" "32" "--duration" "1s" ;args url))
  (t/same 0 status out)
  (each word ["Socket errors" "Non-2xx"]
    (t/check (not (string/find word out)) out))
  (def [count] (t/check (peg/match '(some (+ (* "\n  " (number :d+) " requests in") 1)) out) out))
  count)

(defn- loaded
  "Runs wrk against a server, and waits until the server has nothing left to do. Returns how many connections it accepted."
  [path & args]
  (with-server [server url]
    (def count (wrk (string url path) ;args))
    (printf "      %d requests on %d connections" count (accepted server))
    (t/check (pos? count) "some requests")
    (t/wait-until "the ends of the connections" |(zero? ((kqnet/stats server) :active)))
    (accepted server)))

(t/test "wrk: no errors on kept connections"
  # wrk may make one connection more, to see whether there is a server.
  (t/check (<= 32 (loaded "/") 33) "as many connections as wrk has"))

(t/test "wrk: no errors with one connection per request"
  (t/check (> (loaded "/" "--header" "Connection: close") 33) "more connections than wrk has at once"))

(t/test "wrk: no errors with streams and files"
  (t/check (<= 32 (loaded "/stream") 33) "as many connections as wrk has")
  (t/check (<= 32 (loaded "/files/a.txt") 33) "as many connections as wrk has"))

(t/remove place)
(t/finish)
