###
### kqnet-doctor: finds out by experiment whether servers on this Janet and this system stop answering.
###
### It tries bursts of connections, and too few descriptors, with core's net/server and with kqnet.
###

(import ../init :as kqnet)
(import ./bursts)
(import ./crowd)
(import ./json)
(import ./shortage)
(import ./system)

(def usage
  "What --help prints."
  ```
  usage: kqnet-doctor [--json]

  Finds out whether servers on this Janet stop answering after a burst of connections
  (janet#1560), by trying it on 127.0.0.1, with core's net/server and with kqnet.
  Takes a few seconds, and needs no privileges. The last line says what to do next.
  --json prints everything as one line of JSON, for a bug report.

  Exit status: 0 healthy, 1 affected, 2 the examination failed.
  ```)

(defn- version-affected?
  "Whether a Janet of this version with a kqueue loop has janet#1560."
  [version]
  (def [major minor patch] (map scan-number (peg/match '(* ':d+ "." ':d+ "." ':d+) version)))
  (def key (+ (* 1000000 major) (* 1000 minor) patch))
  (<= 1035000 key 1037001))

(defn- try-to
  "Returns the result of an experiment, or, if it failed, a struct with the :error."
  [& experiment]
  (try (crowd/twice ;experiment) ([err] {:error (string err)})))

(defn examine
  ``Makes the experiments. Returns a struct of `here`, which `system/describe` returned, and:

  * :known - whether this version of Janet has janet#1560 on this queue.
  * :bursts and :starved - the results with many connections at once and with too few descriptors. Each has :core and
    :kqnet, structs of :clients, :connected, :answered and for :starved :cpu (seconds), or of :error.``
  [here]
  (merge here
         {:known (and (= :kqueue (kqnet/backend)) (version-affected? janet/version))
          :bursts {:core (try-to bursts/answered net/server) :kqnet (try-to bursts/answered kqnet/server)}
          :starved {:core (try-to shortage/answered "core") :kqnet (try-to shortage/answered "kqnet")}}))

(def- needed-descriptors
  "How many descriptors the clients and servers of an experiment need together, and some for the program."
  128)

(defn- shortage-here
  "Says that this process may have too few descriptors for the examination, or returns nil."
  [{:limits {:descriptors descriptors}}]
  (when (and (number? descriptors) (< descriptors needed-descriptors))
    (string/format "kqnet-doctor: this shell allows %d descriptors, and the examination needs %d; type: ulimit -n %d"
                   descriptors needed-descriptors (* 2 needed-descriptors))))

(defn- stalls?
  [result]
  (pos? (crowd/unanswered result)))

(def- use-kqnet
  (string "Import kqnet/http instead of spork/http, or run a program unmodified with `janet -l kqnet/install PROGRAM`. "
          "Janet 1.38 or later mends net/server itself."))

(def- report-it "Please open an issue with the output of kqnet-doctor --json.")

(def- nothing-to-mend
  "Nothing has to be mended. To serve with kqnet, import kqnet/http instead of spork/http.")

(defn verdict
  ``Returns a tuple for what `examine` returned: the exit status, a sentence that says what is the case, and one that
  says what to do next.``
  [{:bursts {:core core :kqnet ours} :starved {:core core-starved :kqnet ours-starved} :known known}]
  (def burst-failure (or (core :error) (ours :error)))
  (def starved-failure (or (core-starved :error) (ours-starved :error)))
  (defn failed [err]
    [2 (string "The examination failed: " err ".")
     (string "Mend what the error names, and run kqnet-doctor again. If the error is not clear: " report-it)])
  (cond
    burst-failure (failed burst-failure)
    (stalls? ours) [1 "kqnet left clients unanswered." report-it]
    (stalls? core)
    [1 "Servers on this Janet stop answering after bursts of connections (janet#1560)." use-kqnet]
    known
    [1 "This version of Janet has janet#1560, though it did not show here." use-kqnet]
    starved-failure (failed starved-failure)
    (stalls? ours-starved) [1 "Without free descriptors kqnet left clients unanswered." report-it]
    (stalls? core-starved)
    [0 (string "Bursts are answered. Without free descriptors core's server leaves clients unanswered; kqnet answers "
               "them all.")
     nothing-to-mend]
    [0 "This Janet answers bursts of connections." nothing-to-mend]))

(defn- cell
  [{:clients clients :connected connected :answered answered :cpu cpu :error err}]
  (cond
    err (string "failed: " err)
    (string answered " of " clients
            (if (< connected clients) (string " (" (- clients connected) " not connected)") "")
            (if cpu (string/format ", %.2f s CPU" cpu) ""))))

(defn- report
  [{:kernel kernel :janet version :build build :kqnet ours :queue queue :limits limits :bursts bursts :starved starved}]
  (printf "system       %s" kernel)
  (printf "Janet        %s-%s" version build)
  (printf "kqnet        %s" ours)
  (printf "event queue  %s" queue)
  (printf "descriptors  %s\n" (string (or (limits :descriptors) "unknown")))
  (printf "%-20s%-30s%s" "answered" "in bursts" (string/format "with %d descriptors" shortage/descriptors))
  (each who [:core :kqnet]
    (printf "%-20s%-30s%s" (if (= who :core) "core's net/server" "kqnet/server")
            (cell (bursts who)) (cell (starved who)))))

(defn- write-whole
  "Calls a function that prints to stdout. Returns whether all of it was written."
  [print-all]
  (try
    (do
      (print-all)
      (file/flush stdout)
      true)
    ([err]
      (protect (eprint "kqnet-doctor: cannot write the report: " err))
      false)))

(defn run
  "Runs the program with its arguments. Returns the exit status."
  [args]
  (cond
    (deep= args ["--help"]) (do (print usage) 0)
    (not (or (empty? args) (deep= args ["--json"]))) (do (eprint usage) 2)
    (let [here (system/describe)]
      (if-let [shortage (shortage-here here)]
        (do (eprint shortage) 2)
        (do
          (def found (examine here))
          (def [status sentence next-step] (verdict found))
          (defn print-all []
            (if (empty? args)
              (do (report found) (print "\n" sentence "\nNext: " next-step))
              (print (json/encode (merge found {:affected (= 1 status) :verdict sentence :next next-step})))))
          (if (write-whole print-all) status 2))))))
