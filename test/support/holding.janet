###
### A server for the tests that look at one from outside.
###
### Usage: janet holding.janet WAY [OPTION...], where WAY is server, accept-loop or accept, and options are Janet values.
### It prints its port, or the path that follows :unix. A client sends lines:
###
### * hold: the server answers "held", and the handler goes on until the client closes.
### * statistics: it answers a struct of kqnet/stats, processor time, the clock, and the calls of :on-error.
### * fill: it opens files until it has no descriptor left, and then closes the first two.
### * free: it closes all those files.
###

(import ./init :as t)
(import kqnet)

(var- listener nil)
(def- calls @[])
(def- files @[])

(defn- statistics
  []
  (string/format "%j\n" {:stats (kqnet/stats listener)
                         :cpu (os/clock :cputime)
                         :clock (os/clock :monotonic)
                         :calls (tuple ;calls)}))

(defn- fill
  []
  (while (def [opened file] (protect (os/open "/dev/null" :r)))
    (unless opened (break))
    (array/push files file))
  (def free (array/slice files 0 2))
  (array/remove files 0 2)
  (each file free (:close file))
  "filled\n")

(defn- free
  []
  (each file files (:close file))
  (array/clear files)
  "freed\n")

(defn- handler
  [conn]
  (defer (:close conn)
    (while (def line (:read conn 100))
      (:write conn (case (string/trim line)
                     "hold" "held\n"
                     "statistics" (statistics)
                     "fill" (fill)
                     "free" (free))))))

(defn- note
  "The :on-error function."
  [from message]
  (array/push calls [(= from listener) message]))

(def- ways
  {"server" (fn [address options]
              (set listener (kqnet/server ;address handler ;options)))
   "accept-loop" (fn [address options]
                   (set listener (kqnet/listen ;address))
                   (ev/go (fn [] (kqnet/accept-loop listener handler ;options))))
   "accept" (fn [address _]
              (set listener (kqnet/listen ;address))
              (ev/go (fn [] (while (def conn (kqnet/accept listener)) (ev/go handler conn)))))})

(defn main
  [_ &opt way & words]
  (when way
    (def values (map parse words))
    (def options (map |(if (= 'note $) note $) values))
    (if (= :unix (first options))
      ((ways way) [:unix (options 1)] (drop 2 options))
      ((ways way) ["127.0.0.1" 0] options))
    (print (last (net/localname listener)))
    (flush)))
