###
### What happens to a connection when its handler raises an error, its client is slow or gone, or the server drains.
###

(import ../_native :as native)
(import ../tracker)
(import ./errors)
(import ./response)

(defn- print-error
  "Prints an error to stderr. If that is not possible, the client still gets its answer."
  [[_ http] err fib &opt req]
  (def prefix (string "kqnet/http: " (if req (string (in req :method) " " (in req :path) ": ") "")))
  (protect
    (if (native/http-invalid-response? http)
      # The handler has returned, so its stack is gone, and the server's own would not help.
      (eprint prefix err)
      (debug/stacktrace fib (if (bytes? err) err (string/format "%q" err)) prefix))))

(defn- handler-raised
  ``Answers a request whose handler raised an error: with what `on-error` returns, or with 500 if it returns nil or there
  is no such function, or with 503 if the handler was cancelled by a drain. If the response has begun, nothing more is
  sent, and closing the connection cuts it off.``
  [connection state on-error err fib]
  (def req (native/http-running-request (in connection 1)))
  (defn answering? [] (native/http-answering? (in connection 1)))
  (defn refuse [status reason]
    (unless (answering?) (response/refuse connection state status reason)))
  (defn answer-500 [] (refuse 500 "Internal Server Error"))
  (defn answer-503 [] (refuse 503 "Service Unavailable"))
  (cond
    (= err tracker/cancelled) (answer-503)
    on-error (try
               (let [response (on-error req err fib)]
                 (cond
                   (answering?) nil
                   (nil? response) (answer-500)
                   (do
                     (response/send connection state response true)
                     (response/linger connection))))
               ([err fib]
                 (cond
                   (errors/gone? err) nil
                   (= err tracker/cancelled) (answer-503)
                   (do
                     (print-error connection err fib req)
                     (answer-500)))))
    (do
      (print-error connection err fib req)
      (answer-500))))

(defn- while-reading-head
  "Handles an error while a head was read: answers 408 if the client was too slow."
  [connection state err fib]
  (cond
    (= err :head-timeout) (do
                            (put state :refused true)
                            (response/refuse connection state 408 "request head did not arrive in time"))
    (= err tracker/cancelled) nil
    (print-error connection err fib)))

(defn- while-answering
  "Handles an error of the handler, or one while its response was being sent."
  [connection state on-error err fib]
  (def request (native/http-running-request (in connection 1)))
  (cond
    (errors/reject? err)
    (when (and request (not (native/http-answering? (in connection 1))))
      (response/refuse connection state (in err 1) (in err 2) (get err 3)))
    request
    (do
      # What the handler has set with setdyn is visible to :on-error.
      (fiber/setenv (fiber/current) (fiber/getenv fib))
      (handler-raised connection state on-error err fib))
    (= err tracker/cancelled) nil
    (print-error connection err fib)))

(defn settle
  ``Does what follows an error that ended the serving of a connection: answers the client if it still waits for a
  response, and prints the error unless the client or a drain caused it. `fib` is the fiber that raised the error.``
  [connection state on-error err fib]
  (response/drop-body (state :body) "the client is gone")
  # A client may go in each phase, and that is not an error of the program.
  (unless (errors/gone? err)
    (case (native/http-phase (in connection 1))
      :idle (unless (or (= err :idle-timeout) (= err tracker/cancelled)) (print-error connection err fib))
      :head (while-reading-head connection state err fib)
      :linger nil
      (while-answering connection state on-error err fib))))
