###
### kqnet-doctor: finds out by experiment whether servers on this Janet and this system stop answering.
###
### It tries bursts of connections, and too few descriptors, with core's net/server and with kqnet.
###

(import ../init :as kqnet)
(import ./bursts)
(import ./crowd)
(import ./json)
(import ./outcomes :prefix "" :only [outcome])
(import ./shortage)
(import ./system)

(def usage
  "What --help prints."
  ```
  usage: kqnet-doctor [--json]

  Finds out whether servers on this Janet stop answering after a burst of connections
  (janet#1560), by trying it on 127.0.0.1, with core's net/server and with kqnet.
  Takes a few seconds, and needs no privileges. The last line says what to do next.
  --json prints everything as one line of JSON, for a bug report: there "next" says it.

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
  "Returns the outcome of a process that has too few descriptors for the examination, or nil."
  [{:limits {:descriptors descriptors :most-descriptors most}}]
  (when (and (number? descriptors) (< descriptors needed-descriptors))
    (def enough (* 2 needed-descriptors))
    (if (and (number? most) (< most needed-descriptors))
      (outcome :few-allowed [most needed-descriptors])
      (outcome :few-descriptors [descriptors needed-descriptors] [(if (number? most) (min most enough) enough)]))))

(defn- stalls?
  [result]
  (pos? (crowd/unanswered result)))

(defn verdict
  "Returns the outcome, a struct as of `outcomes/outcome`, for what `examine` returned."
  [{:bursts {:core core :kqnet ours} :starved {:core core-starved :kqnet ours-starved} :known known}]
  (def burst-failure (or (core :error) (ours :error)))
  (def starved-failure (or (core-starved :error) (ours-starved :error)))
  (cond
    burst-failure (outcome :failed [burst-failure])
    (stalls? ours) (outcome :kqnet-stalls)
    (stalls? core) (outcome :core-stalls)
    known (outcome :known-version)
    starved-failure (outcome :failed [starved-failure])
    (stalls? ours-starved) (outcome :kqnet-starves)
    (stalls? core-starved) (outcome :core-starves)
    (outcome :healthy)))

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

(defn- print-outcome
  [{:verdict verdict :next next-step}]
  (print verdict "\nNext: " next-step))

(defn- complain
  "Says on stderr what kept kqnet-doctor from its work. Returns the exit status."
  [{:status status :verdict verdict :next next-step}]
  # There is nowhere left to say that stderr cannot be written to.
  (protect (eprint "kqnet-doctor: " verdict "\nNext: " next-step))
  status)

(defn- write-whole
  "Calls a function that prints to stdout. Returns the error if not all of it was written, or nil."
  [print-all]
  (try
    (do
      (print-all)
      (file/flush stdout)
      nil)
    ([err] (string err))))

(defn- as-json
  "What --json prints. :affected is there if the examination could tell."
  [found {:outcome name :status status :verdict verdict :next next-step}]
  (json/encode (merge found
                      (if (= 2 status) {} {:affected (= 1 status)})
                      {:outcome name :verdict verdict :next next-step})))

(defn run
  "Runs the program with its arguments. Returns the exit status."
  [args]
  (cond
    (deep= args ["--help"]) (do (print usage) 0)
    (not (or (empty? args) (deep= args ["--json"])))
    (do
      (eprint usage "\n")
      (complain (outcome :wrong-arguments [(string/join args " ")])))
    (let [json? (not (empty? args))
          here (system/describe)
          shortage (shortage-here here)
          found (if shortage here (examine here))
          result (or shortage (verdict found))
          problem (write-whole
                    (cond
                      json? |(print (as-json found result))
                      shortage |(complain result)
                      |(do (report found) (print) (print-outcome result))))]
      (if problem
        (complain (outcome :report-unwritten [problem]))
        (result :status)))))
