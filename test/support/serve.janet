###
### Starts kqnet-serve with small programs, for the tests of it.
###

(import ./init :as t)
(import ./http :as h)
(import ./programs)

(def script (string t/project "/bin/kqnet-serve"))

(def answering
  "A program that answers with the number of its process, and, at /sleep, later."
  ```
  (import kqnet/http)
  (import kqnet/_native :as native)
  (defn handler [req]
    (case (req :path)
      "/exit" (os/exit 7)
      "/sleep" (do (ev/sleep 0.3) {:body "slept"})
      {:body (string (native/process-id))}))
  (http/serve-forever handler)
  ```)

(defn with-program
  "Calls a function with the path of a program that has this text."
  [text f]
  (def folder (t/scratch "serve"))
  (os/mkdir folder)
  (def file (string folder "/app.janet"))
  (spit file text)
  (defer (t/remove folder) (f file)))

(defn serve
  "Starts kqnet-serve with these arguments."
  [& args]
  (t/start-janet script ;(map string args)))

(defn wait-for
  "Waits until a process has written this text to stderr, as often as `count` says."
  [process text &opt count]
  (default count 1)
  (t/wait-until (string text " on stderr")
                (fn []
                  (when (and (process :status) (process :err-ended) (< (length (string/find-all text (process :err))) count))
                    (t/fail text (string "ended: " (process :status) ": " (process :err))))
                  (>= (length (string/find-all text (process :err))) count))))

(defn start
  "Starts kqnet-serve on a free port, and waits until it serves. Returns the process and the port."
  [& args]
  (def port (t/free-port))
  (def process (serve "-b" (string "127.0.0.1:" port) ;args))
  (wait-for process "kqnet-serve: listening on ")
  [process port])

(defn ask
  [port &opt path]
  ((h/fetch port "GET" (or path "/")) :body))

(defn- ask-at-once
  ``Asks on several connections that are open at the same time, so that no worker can have them all. Returns the answers. A
  worker may end with a connection that it has just accepted, which is then without an answer.``
  [port count]
  (def clients (filter truthy? (seq [_ :range [0 count]] (let [[ok c] (protect (h/client port))] (if ok c)))))
  (each c clients (protect (:send c "GET" "/")))
  (def answers (seq [c :in clients :let [[ok answer] (protect (:receive c))] :when ok] (answer :body)))
  (each c clients (protect (:close c)))
  answers)

(defn pids
  "The processes that answer, once there are this many of them."
  [port count &opt but]
  (default but [])
  (def seen @{})
  (def end (+ 20 (os/clock :monotonic)))
  (while (< (length seen) count)
    (when (> (os/clock :monotonic) end) (t/fail (string count " workers that answer") (keys seen)))
    (each pid (ask-at-once port (* 8 count))
      (unless (has-value? but pid) (put seen pid true))))
  (sorted (keys seen)))

(defn ends
  "Fails unless a process ends with this status after SIGTERM."
  [process &opt status]
  (:signal process :term)
  (t/same (or status 0) (:wait process) (process :err)))

(defn ends-whatever
  "Fails unless a process ends after SIGTERM, and leaves no workers."
  [process]
  (:signal process :term)
  (:wait process)
  (t/check (not (string/find "takes too long" (process :err))) (process :err)))

(defn alive?
  "Whether there is a process with this number, on Linux."
  [pid]
  (t/exists? (string "/proc/" pid "/stat") :file))

(defn workers-of
  "The processes that a supervisor has started."
  [pid]
  (def [_ text] (programs/run "ps" "-o" "pid=" "--ppid" (string pid)))
  (filter |(not (empty? $)) (string/split " " (string/replace-all "\n" " " text))))
