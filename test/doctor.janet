###
### doctor.janet
###
### kqnet-doctor reports the truth, in time, and leaves nothing behind.
###

(import ./support :as t)
(import kqnet)

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
  (def before (os/clock :monotonic))
  (with [process (start ;command)]
    (def status (:wait process))
    (t/wait-until "the end of its output" |(and (process :out-ended) (process :err-ended)))
    (def took (- (os/clock :monotonic) before))
    (t/check (< took 10) (string "an end within 10 s, not " took))
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
        "verdict" verdict}
    (parse out))
  (t/same [janet/version (string (kqnet/backend)) known (= 1 expected-status)]
          [version queue found-known affected] what)
  (t/same {"clients" 200 "answered" 200} ours "bursts with kqnet")
  (if stalls
    (do
      (t/check (< (core "answered") (core "clients")) "core stalls by experiment")
      (t/check (string/find "stop answering after bursts of connections (janet#1560)" verdict) "a verdict that names it"))
    (t/same {"clients" 200 "answered" 200} core "bursts with core"))
  (t/same [60 60] [(ours-starved "clients") (ours-starved "answered")] "few descriptors, with kqnet")
  (t/check (< (ours-starved "cpu") 0.5) "kqnet uses no processor time when it has no descriptors")
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
                      ["kqnet " "200 of 200 "]]
    (def line (t/check (find |(string/has-prefix? start $) lines) (string "a line with " start)))
    (t/check (string/find text line) (string text " in the line with " start)))
  (t/same (truthy? known) (truthy? (string/find "janet#1560" out)) out))

(t/test "--json prints the same as one object"
  (check-findings (run (dyn *executable*) doctor "--json") "the interpreter by its path"))

(t/test "the doctor finds the interpreter on the PATH, or one that a script starts"
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
    (t/check (string/has-prefix? "usage: kqnet-doctor [--json]" err) "the usage among the errors"))
  (def [status out err] (run (dyn *executable*) doctor "--help"))
  (t/same [0 ""] [status err])
  (t/check (string/has-prefix? "usage: kqnet-doctor [--json]" out) "the usage"))

(t/finish)
