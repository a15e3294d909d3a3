###
### Every outcome of kqnet-doctor: its exit status, what is the case, and what to do next.
###

(def- use-kqnet
  (string "Import kqnet/http instead of spork/http, or run a program unmodified with `janet -l kqnet/install PROGRAM`. "
          "Janet 1.38 or later mends net/server itself."))

(def- report-it "Please open an issue with the output of kqnet-doctor --json.")

(def- nothing-to-mend
  "Nothing has to be mended. To serve with kqnet, import kqnet/http instead of spork/http.")

(def outcomes
  ``A struct from the name of each outcome to a tuple of its exit status, a sentence that says what is the case, and one that
  says what to do next. In the sentences, %s stands for what `outcome` is given.``
  {:healthy [0 "This Janet answers bursts of connections." nothing-to-mend]
   :core-starves
   [0 (string "Bursts are answered. Without free descriptors core's server leaves clients unanswered; kqnet answers "
              "them all.")
    nothing-to-mend]
   :core-stalls [1 "Servers on this Janet stop answering after bursts of connections (janet#1560)." use-kqnet]
   :known-version [1 "This version of Janet has janet#1560, though it did not show here." use-kqnet]
   :kqnet-stalls [1 "kqnet left clients unanswered." report-it]
   :kqnet-starves [1 "Without free descriptors kqnet left clients unanswered." report-it]
   :failed
   [2 "The examination failed: %s."
    (string "Mend what the error names, and run kqnet-doctor again. If the error is not clear: " report-it)]
   :few-descriptors
   [2 "This shell allows %d descriptors, and the examination needs %d."
    "Type `ulimit -n %d`, and run kqnet-doctor again."]
   :few-allowed
   [2 "This shell allows at most %d descriptors, and the examination needs %d."
    "Have root raise the hard limit (`ulimit -Hn`), and run kqnet-doctor again."]
   :report-unwritten
   [2 "The report cannot be written: %s."
    "Make room where its output goes, or send it somewhere else, and run kqnet-doctor again."]
   :wrong-arguments
   [2 "kqnet-doctor does not take these arguments: %s."
    "Run kqnet-doctor without arguments, or with --json."]})

(defn outcome
  ``Returns a struct of the :outcome with this name: its :status, and the sentences :verdict and :next. `said` and `advised`
  are tuples of what the two sentences have to name.``
  [name &opt said advised]
  (def [status verdict next-step] (in outcomes name))
  {:outcome name
   :status status
   :verdict (string/format verdict ;(or said []))
   :next (string/format next-step ;(or advised []))})
