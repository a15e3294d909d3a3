###
### Replaces a program with its new version without refusing a connection or cutting off a request.
###
### A supervisor holds the listener, and a worker serves it. On SIGHUP, the supervisor starts a
### second worker, which runs the new version of the program, and then has the first one drain. On
### SIGTERM or SIGINT the worker drains, and then both processes end.
### Usage: janet examples/graceful-restart.janet [port or path of a unix socket]
###

(import kqnet)
(import kqnet/http)

(def- program (dyn *current-file*))

###
### The worker serves the listener that is its standard input
###

(defn- work
  [generation]
  (defn handler [_]
    {:status 200 :headers {"Content-Type" "text/plain"} :body (string "worker " generation "\n")})
  (http/serve-forever handler :listener (kqnet/from-fd 0)))

###
### The supervisor
###

(defn- start
  "Starts a worker, and returns it once it serves, or nil. Puts its end into `events`."
  [listener generation events]
  (def worker
    (os/spawn [(dyn *executable*) program "worker" (string generation)] :p {:in listener :out :pipe}))
  # The worker prints its address once it serves.
  (def first-output (ev/read (worker :out) 4096))
  (ev/go (fn []
           (var output first-output)
           (while output
             (prin output)
             (flush)
             (set output (ev/read (worker :out) 4096)))
           (ev/give events [:ended worker (os/proc-wait worker)])))
  (if first-output worker))

(defn- listen
  [where]
  (if (string/find "/" where)
    (kqnet/listen :unix where)
    (kqnet/listen "127.0.0.1" (scan-number where) :nodelay true)))

(defn- supervise
  [where]
  (def events (ev/chan 16))
  (each signal [:hup :int :term]
    (os/sigaction signal (fn [] (ev/give events [:signal signal])) true))
  (def listener (listen where))
  (var generation 1)
  (var worker (or (start listener generation events) (error "the worker did not start")))
  (var stopping false)
  (while worker
    (match (ev/take events)
      [:signal :hup]
      (if-let [next-one (start listener (++ generation) events)]
        (do
          (os/proc-kill worker false :term)
          (set worker next-one)
          (print "worker " generation " serves"))
        (eprint "the new worker did not start; the old one goes on"))

      [:signal _]
      (unless stopping
        (set stopping true)
        (:close listener)
        (os/proc-kill worker false :term))

      [:ended ended status]
      (cond
        # It was told to end, or failed to start.
        (not= ended worker) (print "another worker ended with status " status)
        stopping (do (print "the worker ended with status " status) (set worker nil))
        (do
          (eprint "the worker ended with status " status "; starting another")
          (ev/sleep 1)
          (set worker (start listener (++ generation) events)))))
    (flush))
  (os/exit 0))

(defn main
  [_ &opt where generation]
  (if (= where "worker")
    (work generation)
    (supervise (or where "8000"))))
