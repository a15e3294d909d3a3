###
### The server of test/soak.janet.
###
### It prints the ports of a server, of a server with a limit of connections, of a loop over accept, and of a control
### port, which answers a line with statistics, and "end" with what the drains return.
###

(import ./init :as t)
(import kqnet)

(def- host "127.0.0.1")
(def- patience "Seconds that a client may stay silent. Slow clients must succeed on a busy machine too." 5)
(def- haste "Seconds that a client may go without reading." 0.4)
(def- piece (string/repeat "x" 65536))

(def- seen @{:begun 0 :ended 0 :starved 0})
(defn- count [what] (put seen what (inc (seen what))))

(defn- line-of
  "A line, however slowly it comes, or nil."
  [conn]
  (def line @"")
  (while (not (string/has-suffix? "\n" line))
    (unless (:read conn 100 line patience) (break)))
  (if (string/has-suffix? "\n" line) (string/trim line)))

(defn- handler
  [conn]
  (count :begun)
  (defer (do (:close conn) (count :ended))
    (match (string/split " " (or (line-of conn) ""))
      ["echo" text] (:write conn text haste)
      ["echo-late" text] (do (ev/sleep 0.02) (:write conn text haste))
      ["big"] (repeat 100 (:write conn piece haste))
      ["raise" text] (error text))))

(def- on-error (fn [_ _] (count :starved)))

(defn- statistics
  [listeners]
  (gccollect)
  (merge seen
         {:stats (map kqnet/stats listeners)
          :descriptors (t/descriptors)
          :tasks (t/tasks)}))

(defn main
  [_ &opt run]
  (when (= run "run")
    (def plain (kqnet/server host 0 handler :on-error on-error))
    (def limited (kqnet/server host 0 handler :max-connections 8 :batch 3 :on-error on-error))
    (def by-accept (kqnet/listen host 0))
    (ev/go (fn [] (while (def conn (kqnet/accept by-accept)) (ev/go handler conn))))
    (def control (kqnet/listen host 0))
    (def listeners [plain limited by-accept])
    (print (string/join (map |(string (last (net/localname $))) [;listeners control]) " "))
    (flush)
    (with [conn (kqnet/accept control)]
      (forever
        (def line (:read conn 100))
        (when (or (nil? line) (= "end\n" (string line)))
          (:write conn (string/format "%j\n" (map |(kqnet/drain $ 30) listeners)))
          (break))
        (:write conn (string/format "%j\n" (statistics listeners)))))
    (:close control)))
