###
### kqnet-doctor finds out the same on a busy machine as on an idle one.
###
### It says what to do next, and leaves nothing behind.
###

(import ./support :as t)
(import kqnet)
(import kqnet/doctor :as examination)
(import kqnet/doctor/crowd)
(import kqnet/doctor/outcomes)

(def- doctor (string t/project "/bin/kqnet-doctor"))

# On macOS's kernel a Janet of these versions stalls. On the BSDs it has the same bug, but does not stall.
(def- known
  (and (= :kqueue (kqnet/backend)) (not (t/version-at-least? [1 38]))))
(def- stalls
  (and known
       (not (string/find "poll" (os/getenv "KQNET_HOST" "")))
       (or (= :macos (os/which)) (= "xnu" (os/getenv "KQUEUE_EMU_KERNEL")))))
(def- expected-status (if known 1 0))

# Every process that the doctor starts inherits this mark.
(def- mark (string "KQNET_TEST_MARK=" (t/scratch "mark")))

(defn- marked
  "The processes that have the mark, or none if the system does not tell."
  []
  (if t/linux?
    (filter (fn [pid]
              (and (scan-number pid)
                   # The process may end in between.
                   (match (protect (slurp (string "/proc/" pid "/environ")))
                     [true text] (string/find mark text))))
            (os/dir "/proc"))
    []))

(defn- start
  [& args]
  (t/start "/usr/bin/env" mark ;args))

(defn- run
  "Runs the doctor with a command until it ends. Returns its exit status, output and errors."
  [& command]
  (with [process (start ;command)]
    (def status (:wait process))
    (t/wait-until "the end of its output" |(and (process :out-ended) (process :err-ended)))
    (t/same [] (marked) "processes left behind")
    [status (string (process :out)) (string (process :err))]))

(def- json
  "A peg for text that is one JSON value."
  (peg/compile
    ~{:main (* :value -1)
      :value (* :s* (+ :object :string :number :word) :s*)
      :word (+ (* "true" (constant true)) (* "false" (constant false)))
      :number (number (* (? "-") :d+ (? (* "." :d+)) (? (* (set "eE") (? (set "+-")) :d+))))
      :string (* `"` (% (any (+ (* `\` (<- (set `"\`))) (<- (if-not (set `"\`) (range " \xFF")))))) `"`)
      :pair (* :s* :string :s* ":" :value)
      :object (/ (* "{" (? (* :pair (any (* "," :pair)))) "}") ,struct)}))

(defn- parse
  [text]
  (first (t/check (peg/match json (string/trimr text)) (string "one object of JSON, not " text))))

(defn- check-findings
  "Fails unless these findings are what this Janet on this kernel should give."
  [[status out err] what]
  (t/same [expected-status ""] [status err] what)
  (def {"bursts" {"core" core "kqnet" ours}
        "starved" {"core" core-starved "kqnet" ours-starved}
        "known" found-known
        "affected" affected
        "janet" version
        "queue" queue
        "verdict" verdict
        "outcome" outcome
        "next" next-step
        "kqnet" ours-version
        "kernel" kernel
        "limits" {"descriptors" descriptors "backlog" backlog}}
    (parse out))
  (t/same [janet/version (string (kqnet/backend)) known (= 1 expected-status)]
          [version queue found-known affected] what)
  (t/same kqnet/version ours-version "the version of kqnet")
  (t/check (not (empty? kernel)) "the kernel")
  (t/check (number? descriptors) "the limit of descriptors")
  (t/check (number? backlog) "the longest backlog")
  (def [status] (t/check (in outcomes/outcomes (keyword outcome)) outcome))
  (t/same expected-status status "the status of the outcome")
  (t/check (string/has-suffix? "." next-step) "a sentence that says what to do next")
  (def whole {"clients" 200 "connected" 200 "answered" 200})
  (t/same whole ours "bursts with kqnet")
  (if stalls
    (do
      (t/check (< (core "answered") (core "clients")) "core stalls by experiment")
      (t/check (string/find "stop answering after bursts of connections (janet#1560)" verdict) "a verdict that names it"))
    (t/same whole core "bursts with core"))
  (t/same [60 60] [(ours-starved "clients") (ours-starved "answered")] "few descriptors, with kqnet")
  # In seconds. Core's server may use all the time there is; kqnet's tries again some 30 times a second.
  (t/check (< (ours-starved "cpu") 0.5) "kqnet waits while it has no descriptors")
  (t/same 60 (core-starved "clients") "few descriptors, with core"))

(t/test "the doctor prints a table and a verdict, and exits with the status that goes with the verdict"
  (def [status out err] (run (dyn *executable*) doctor))
  (t/same [expected-status ""] [status err] out)
  (def lines (string/split "\n" out))
  (each [start text] [["Janet " janet/version]
                      ["event queue " (string (kqnet/backend))]
                      ["answered " "with 40 descriptors"]
                      # On macOS itself, part of a burst may come late enough to be noticed separately.
                      ["core's net/server " (cond
                                              (not stalls) "200 of 200 "
                                              (= :macos (os/which)) " of "
                                              "1 of 20 ")]
                      ["kqnet/server " "200 of 200 "]]
    (def line (t/check (find |(string/has-prefix? start $) lines) (string "a line with " start)))
    (t/check (string/find text line) (string text " in the line with " start)))
  (t/same (truthy? known) (truthy? (string/find "janet#1560" out)) out)
  (t/check (string/has-prefix? "Next: " (last (string/split "\n" (string/trimr out)))) "the last line says what to do next"))

(t/test "--json prints the same as one object, and a busy machine changes nothing about what it finds"
  (def busy (seq [_ :range [0 4]] (os/spawn [(dyn *executable*) "-e" "(forever)"])))
  (defer (each process busy (os/proc-kill process true))
    (check-findings (run (dyn *executable*) doctor "--json") "beside four busy processes")))

(t/test "a client that the system has not connected yet is not the server's fault"
  # Nobody accepts, and only a few fit into the backlog.
  (with [listener (kqnet/listen "127.0.0.1" 0 :backlog 1)]
    (def [host port] (net/localname listener))
    (def found (crowd/answered 20 host port |(ev/sleep 0.001) 50 0))
    (t/same [20 0] [(found :clients) (found :answered)] found)
    (t/same (found :connected) (crowd/unanswered found) found)
    (when t/linux? (t/check (< 0 (found :connected) 20) found))))

(t/test "clients that a server answers late are waited for as long as it shows that it goes on"
  (with [listener (kqnet/server "127.0.0.1" 0
                                (fn [conn] (defer (:close conn) (:read conn 1) (ev/sleep 0.1) (:write conn "!"))))]
    (def [host port] (net/localname listener))
    (t/same {:clients 20 :connected 20 :answered 20} (crowd/answered 20 host port |(ev/sleep 0.01) 2000 0))))

(t/test "what happens once is not a verdict"
  (defn result [answered] {:clients 20 :connected 20 :answered answered})
  (each [results expected] [[[20] 20] [[19 20] 20] [[18 1] 18] [[1 1] 1]]
    (def left (array ;results))
    (defn experiment [] (def one (result (first left))) (array/remove left 0) one)
    (t/same (result expected) (crowd/twice experiment) results)
    (t/same [] (tuple ;left) "how many times it was made")))

(t/test "each outcome of the experiments has its exit status, and says what to do next"
  (def whole {:clients 20 :connected 20 :answered 20 :cpu 0})
  (def stalled {:clients 20 :connected 20 :answered 1 :cpu 0})
  (def late {:clients 20 :connected 19 :answered 19 :cpu 0})
  (def busy {:clients 20 :connected 20 :answered 20 :cpu 0.4})
  (def failed {:error "no loopback"})
  (each [name status known core ours core-starved ours-starved part next-part]
    [[:healthy 0 false whole whole whole whole "answers bursts" "Nothing has to be mended"]
     [:healthy 0 false late late whole whole "answers bursts" "Nothing has to be mended"]
     [:healthy 0 false whole whole busy whole "answers bursts" "Nothing has to be mended"]
     [:core-starves 0 false whole whole stalled whole "unanswered" "Nothing has to be mended"]
     [:core-stalls 1 false stalled whole whole whole "stop answering" "janet -l kqnet/install"]
     [:known-version 1 true whole whole whole whole "did not show here" "kqnet/http"]
     [:core-stalls 1 true stalled whole failed failed "stop answering" "kqnet/http"]
     [:kqnet-stalls 1 false whole stalled whole whole "kqnet left" "open an issue"]
     [:kqnet-starves 1 false whole whole whole stalled "Without free descriptors kqnet" "open an issue"]
     [:failed 2 false failed whole whole whole "no loopback" "run kqnet-doctor again"]
     [:failed 2 false whole whole whole failed "no loopback" "run kqnet-doctor again"]]
    (def found
      (examination/verdict {:known known :bursts {:core core :kqnet ours}
                            :starved {:core core-starved :kqnet ours-starved}}))
    (t/same [name status] [(found :outcome) (found :status)] found)
    (t/check (string/find part (found :verdict)) found)
    (t/check (string/find next-part (found :next)) found)))

(t/test "each outcome is one of those that are tested here, and its sentences are on one line each"
  (t/same (sort @[:healthy :core-starves :core-stalls :known-version :kqnet-stalls :kqnet-starves :failed
                  :few-descriptors :few-allowed :report-unwritten :wrong-arguments])
          (sort (keys outcomes/outcomes)))
  (eachp [name [status verdict next-step]] outcomes/outcomes
    (t/check (has-value? [0 1 2] status) name)
    (each sentence [verdict next-step]
      (t/check (and (string/has-suffix? "." sentence) (not (string/find "\n" sentence))) [name sentence]))))

(defn- last-line [text] (last (string/split "\n" (string/trimr text))))

(t/test "the interpreter may be found on the PATH, or started by a script"
  (def path (string/split "/" (dyn *executable*)))
  (def folder (string/join (slice path 0 -2) "/"))
  (def kernel (os/getenv "KQUEUE_EMU_KERNEL"))
  (def name (if kernel (string "janet-" kernel) (last path)))
  (check-findings (run (string "PATH=" folder ":" (os/getenv "PATH")) name doctor "--json") name))

(t/test "when the doctor is killed half-way, it leaves no process behind"
  (unless t/linux? (t/skip "processes are found through /proc"))
  (with [process (start (dyn *executable*) doctor)]
    # The doctor itself, and the first server that will run out of descriptors.
    (t/wait-until "the doctor has started a server" |(> (length (marked)) 1))
    (:signal process :kill)
    (:wait process)
    (t/wait-until "no process is left" |(empty? (marked)))))

(t/test "unknown arguments are refused, and nothing is tried"
  (each args [["--jsn"] ["--json" "now"] ["--json" "--json"] ["help"] [""]]
    (def [status out err] (run (dyn *executable*) doctor ;args))
    (t/same [2 ""] [status out] args)
    (t/check (string/has-prefix? "usage: kqnet-doctor [--json]" err) "the usage among the errors")
    (t/check (string/find (string "does not take these arguments: " (string/join args " ") ".\n") err) err)
    (t/same "Next: Run kqnet-doctor without arguments, or with --json." (last-line err)))
  (def [status out err] (run (dyn *executable*) doctor "--help"))
  (t/same [0 ""] [status err])
  (t/check (string/has-prefix? "usage: kqnet-doctor [--json]" out) "the usage"))

(t/test "a shell with too few descriptors is told how many are needed, and nothing is tried"
  (def command `ulimit -Sn "$0" && exec "$@"`)
  (each limit ["32" "64" "127"]
    (def [status out err] (run "/bin/sh" "-c" command limit (dyn *executable*) doctor))
    (t/same [2 ""] [status out] limit)
    (t/check (string/has-prefix? (string "kqnet-doctor: This shell allows " limit " descriptors") err) err)
    (t/same "Next: Type `ulimit -n 256`, and run kqnet-doctor again." (last-line err)))
  (def [status out err] (run "/bin/sh" "-c" command "64" (dyn *executable*) doctor "--json"))
  (def {"outcome" outcome "next" next-step "affected" affected} (parse out))
  (t/same [2 "" "few-descriptors" "Type `ulimit -n 256`, and run kqnet-doctor again." nil]
          [status err outcome next-step affected] "with --json")
  (check-findings (run "/bin/sh" "-c" command "128" (dyn *executable*) doctor "--json") "with just enough"))

(t/test "a shell whose hard limit is too low is not told to type what would be refused"
  (each [most sentence] [["64" "Have root raise the hard limit (`ulimit -Hn`), and run kqnet-doctor again."]
                         ["200" "Type `ulimit -n 200`, and run kqnet-doctor again."]]
    (def command `ulimit -Sn 64 && ulimit -Hn "$0" && exec "$@"`)
    (def [status out err] (run "/bin/sh" "-c" command most (dyn *executable*) doctor))
    (t/same [2 ""] [status out] most)
    (t/same (string "Next: " sentence) (last-line err) most)))

(t/test "a client that cannot connect is not the server's fault"
  (def [ok err]
    (with [listener (kqnet/listen "127.0.0.1" 0)]
      (def [host port] (net/localname listener))
      (:close listener)
      (protect (crowd/answered 3 host port |(ev/sleep 0.001) 50 0))))
  (t/check (and (not ok) (string/has-prefix? "a client cannot connect: " err)) err))

(t/test "a report that cannot be written is a failure"
  (unless t/linux? (t/skip "/dev/full is Linux's"))
  (def [status out err] (run "/bin/sh" "-c" `exec "$0" "$@" >/dev/full` (dyn *executable*) doctor))
  (t/same [2 ""] [status out])
  (t/check (string/find "kqnet-doctor: The report cannot be written: " err) err)
  (t/check (string/has-prefix? "Next: Make room " (last-line err)) err))

(t/finish)
