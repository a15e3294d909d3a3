###
### doctor.janet
###
### kqnet-doctor: what this Janet and this system do with bursts of connections, and with no free
### descriptors, with core's net/server and with kqnet, side by side.
###

(import ./init :as kqnet)

(def usage
  "What --help prints."
  ```
  usage: kqnet-doctor [--json]

  Finds out whether servers on this Janet stop answering after a burst of connections
  (janet#1560), by trying it on 127.0.0.1, with core's net/server and with kqnet.
  Takes a few seconds, and needs no privileges.

  Exit status: 0 healthy, 1 affected, 2 the examination failed.
  ```)

(def- burst-size 20)
(def- most-bursts 10)
(def- patience "Seconds without an answer after which a server counts as stalled." 0.7)
(def- longest "Seconds that a crowd of clients may take, however slowly answers come." 2.5)
(def- descriptor-limit 40)
(def- starving-clients 60)

###
### Bursts
###

(defn- client
  "One client: true if it was answered. Closes its connection in any case."
  [host port]
  (def conn (net/connect host port))
  (defer (:close conn)
    (:write conn "?")
    (not (nil? (:read conn 1)))))

(defn- together
  "Runs `count` clients at once. Returns how many were answered, once all are, or none is for a while, or it is late."
  [count host port patience]
  (def answers (ev/chan count))
  (def tasks
    (seq [_ :range [0 count]]
      (ev/go (fn [] (ev/give answers (true? (last (protect (client host port)))))))))
  (def end (+ longest (os/clock :monotonic)))
  (var answered 0)
  (try
    (repeat count
      (def left (max 0 (- end (os/clock :monotonic))))
      (if (ev/with-deadline (min patience left) (ev/take answers)) (++ answered)))
    ([_] nil))
  (each task tasks (when (fiber/can-resume? task) (protect (ev/cancel task "no answer"))))
  answered)

(defn- bursts
  "Sends bursts to a server in this process until one is not answered whole, or it is late."
  [serve]
  (def listener (serve "127.0.0.1" 0 (fn [conn] (defer (:close conn) (:read conn 1) (:write conn "!")))))
  (defer (:close listener)
    (def [host port] (net/localname listener))
    (def end (+ longest (os/clock :monotonic)))
    (var [made answered] [0 0])
    (repeat most-bursts
      (+= made burst-size)
      (+= answered (together burst-size host port patience))
      (when (or (< answered made) (> (os/clock :monotonic) end)) (break)))
    {:clients made :answered answered}))

###
### No free descriptors
###

(def- starved-server
  "A program: serves with few descriptors until its input ends, then prints the CPU seconds that it used."
  ```
  (import kqnet)
  (defn handler [conn] (defer (:close conn) (:read conn 1) (ev/sleep 0.2) (:write conn "!")))
  (def serve (if (= "core" (os/getenv "KQNET_DOCTOR")) net/server kqnet/server))
  (def listener (serve "127.0.0.1" 0 handler))
  (print (last (net/localname listener)))
  (flush)
  (def input (os/open "/dev/fd/0" :r))
  (def start (os/clock :cputime))
  (ev/read input 1)
  (printf "%.3f" (- (os/clock :cputime) start))
  (flush)
  (os/exit 0)
  ```)

(defn- starved
  "Runs more clients than a server in a process of its own has descriptors."
  [kind]
  (def command (string "ulimit -n " descriptor-limit ` && exec "$0" "$@"`))
  (def proc
    (os/spawn ["/bin/sh" "-c" command (dyn :executable "janet") "-e" starved-server] :pe
              (merge (os/environ) {"JANET_PATH" (dyn :syspath) "KQNET_DOCTOR" kind}
                     {:in :pipe :out :pipe :err :pipe})))
  (defer (do (protect (os/proc-kill proc true)) (protect (:close proc)))
    (def port (scan-number (string/trim (ev/with-deadline 3 (ev/read (proc :out) 64)))))
    (def before (os/clock :monotonic))
    (def answered (together starving-clients "127.0.0.1" port 1.5))
    (def took (- (os/clock :monotonic) before))
    (:close (proc :in))
    (def cpu (scan-number (string/trim (or (ev/with-deadline 2 (ev/read (proc :out) 64)) "0"))))
    {:clients starving-clients :answered answered :cpu (/ cpu took)}))

###
### The report
###

(defn- version-affected?
  "Whether a Janet of this version with a kqueue loop has janet#1560."
  [version]
  (def [major minor patch] (map scan-number (peg/match '(* ':d+ "." ':d+ "." ':d+) version)))
  (def key (+ (* 1000000 major) (* 1000 minor) patch))
  (<= 1035000 key 1037001))

(defn- try-to
  "What an experiment gives, or a struct with the :error for which it gave nothing."
  [experiment & args]
  (try (experiment ;args) ([err] {:error (string err)})))

(defn examine
  ``Makes the experiments. Returns a struct of :system, :janet (version), :queue (:kqueue or :epoll),
  :known (whether this version has janet#1560), :bursts and :starved, each with :core and :kqnet:
  structs of :clients, :answered, and for :starved :cpu (share of a core), or of :error.``
  []
  (def queue (kqnet/backend))
  {:system (string (os/which) " " (os/arch))
   :janet janet/version
   :queue queue
   :known (and (= :kqueue queue) (version-affected? janet/version))
   :bursts {:core (try-to bursts net/server) :kqnet (try-to bursts kqnet/server)}
   :starved {:core (try-to starved "core") :kqnet (try-to starved "kqnet")}})

(defn- whole? [{:clients clients :answered answered}] (and clients (= clients answered)))

(defn- failed? [{:error err}] err)

(defn verdict
  "Returns the exit status for what `examine` returned, and a sentence of what is so and what to do."
  [{:bursts {:core core :kqnet ours} :starved {:core core-starved :kqnet ours-starved} :known known}]
  (cond
    (or (failed? core) (failed? ours))
    [2 (string "The examination failed: " (or (failed? core) (failed? ours)) ".")]
    (not (whole? ours))
    [1 "kqnet left clients unanswered: please report this output."]
    (not (whole? core))
    [1 (string "Servers on this Janet stop answering after bursts of connections (janet#1560). Use kqnet, "
               "or Janet 1.38 or later.")]
    known
    [1 (string "This version of Janet has janet#1560, though it did not show here. Use kqnet, or Janet 1.38 or later.")]
    (and (not (failed? core-starved)) (not (whole? core-starved)) (whole? ours-starved))
    [0 (string "Bursts are answered. Without free descriptors core's server leaves clients unanswered; kqnet answers "
               "them all.")]
    (and (not (failed? core-starved)) (> (core-starved :cpu) 0.5))
    [0 (string "Bursts are answered. Without free descriptors core's server keeps a processor busy; kqnet's rests.")]
    [0 "This Janet answers bursts of connections."]))

(defn- outcome
  [{:clients clients :answered answered :cpu cpu :error err}]
  (cond
    err (string "failed: " err)
    cpu (string/format "%d of %d, %.0f %% CPU" answered clients (* 100 cpu))
    (string/format "%d of %d" answered clients)))

(defn- json
  [x]
  (case (type x)
    :table (json (table/to-struct x))
    :struct (string "{" (string/join (seq [k :in (sort (keys x))] (string (json (string k)) ":" (json (x k)))) ",") "}")
    :number (string/format "%.3g" x)
    :boolean (string x)
    :nil "null"
    (string `"` (string/replace-all `"` `\"` (string/replace-all "\n" " " (string/replace-all `\` `\\` (string x)))) `"`)))

(defn- report
  [{:system system :janet version :queue queue :bursts bursts :starved starved}]
  (printf "system       %s" system)
  (printf "Janet        %s" version)
  (printf "event queue  %s\n" queue)
  (printf "%-24s%-24s%s" "answered" "in bursts" (string/format "with %d descriptors" descriptor-limit))
  (each who [:core :kqnet]
    (printf "%-24s%-24s%s" (if (= who :core) "core's net/server" "kqnet")
            (outcome (bursts who)) (outcome (starved who)))))

(defn run
  "Runs the program with its arguments. Returns the exit status."
  [args]
  (cond
    (deep= args ["--help"]) (do (print usage) 0)
    (not (or (empty? args) (deep= args ["--json"]))) (do (eprint usage) 2)
    (do
      (def found (examine))
      (def [status sentence] (verdict found))
      (if (empty? args)
        (do (report found) (print "\n" sentence))
        (print (json (merge found {:affected (= 1 status) :verdict sentence}))))
      status)))
