###
### A program for the tests of pipelined requests: an HTTP server whose handlers do all that may come between two responses.
### It prints its port, and ends at /exit.
###

(import kqnet)
(import kqnet/http)

(def- arguments (dyn :args))

(defn- until-exists
  "Blocks the whole loop until there is a file at a path."
  [path]
  (while (not (os/stat path)) (os/sleep 0.001)))

(var- runs 0)

(defn- wait-for-task
  "Waits for another task, which takes next to no time."
  []
  (def done (ev/chan 1))
  (ev/spawn (ev/give done true))
  (ev/take done))

(defn- handle
  [req]
  (def conn (req :connection))
  (defn raw [text] (string "HTTP/1.1 200 OK\r\nContent-Length: " (length text) "\r\n\r\n" text))
  (case (req :path)
    "/turn" (do (ev/sleep 0) {:body "turn"})
    "/task" (do (wait-for-task) {:body "task"})
    "/child" (do (os/execute ["true"] :p) {:body "child"})
    "/cancel" (do
                (each task (ev/all-tasks)
                  (when (= :new (fiber/status task)) (ev/cancel task "cancelled")))
                {:body "cancel"})
    "/slow" (do (os/sleep 0.01) {:body "/slow"})
    "/13th-waits" (do
                    (++ runs)
                    (when (zero? (% runs 13)) (wait-for-task))
                    {:body "/13th-waits"})
    "/wait" (do (while (not (os/stat (in arguments 1))) (ev/sleep 0.001)) {:body "wait"})
    "/block" (do (until-exists (in arguments 1)) {:body "block"})
    "/error" (error "meant")
    "/nil" nil
    "/large" {:body (string/repeat "x" 100000)}
    "/pieces" {:body ["a" "b"]}
    "/later" {:body (coro (yield "a") (ev/sleep 0) (yield "b"))}
    "/echo" {:body (http/read-body req)}
    "/write" (do (:write conn (raw "written")) {:detached true})
    "/net-write" (do (net/write conn (raw "written")) {:detached true})
    "/close" (do (:close conn) {:body "never"})
    "/ev-close" (do (ev/close conn) {:body "never"})
    "/shutdown" (do (net/shutdown conn :w) {:body "never"})
    "/detached" {:body "d" :headers {"Content-Length" "1"} :detached (fn [conn _] (ev/sleep 0) (:write conn "tail"))}
    "/fork" (let [child (os/posix-fork)]
              (unless child (os/exit 0))
              (os/proc-wait child)
              {:body "fork"})
    "/forked" (do
                (unless (os/posix-fork) (ev/sleep 0) (os/exit 0))
                {:body "forked"})
    "/exit" (os/exit 0)
    {:body (req :path)}))

(defn main
  [&]
  (def server (http/server handle "127.0.0.1" 0 :on-error (fn [&] {:status 500 :body "on-error"})))
  (print (last (net/localname server)))
  (flush))
