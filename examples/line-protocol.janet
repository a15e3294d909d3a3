###
### A custom protocol on kqnet/server: clients share a table, and send one command per line.
### Usage: janet examples/line-protocol.janet [port]
###
###   $ nc 127.0.0.1 8000
###   put colour green
###   ok
###   get colour
###   green
###

(import kqnet)

(def- idle-seconds 300)
(def- longest-line 4096)

(def- values @{})

(defn- obey
  "Carries out a command. Returns the answer, or nil to end the connection."
  [line]
  (match (string/split " " line 0 3)
    ["put" name value] (do (put values name value) "ok")
    ["get" name] (get values name "none")
    ["quit"] nil
    _ "error: expected put NAME VALUE, get NAME, or quit"))

(defn- serve
  "Answers each line as it comes. One read may give several lines, and one line may take several reads."
  [conn]
  (def input @"")
  (var from 0)
  (forever
    (if-let [end (string/find "\n" input from)]
      (do
        (def answer (obey (string/trimr (string/slice input from end) "\r")))
        (unless answer (break))
        (net/write conn (string answer "\n"))
        (set from (inc end)))
      (do
        (def rest (string/slice input from))
        (buffer/clear input)
        (buffer/push input rest)
        (set from 0)
        (when (> (length input) longest-line) (break))
        (unless (net/read conn 4096 input idle-seconds) (break))))))

(defn main
  [_ &opt port]
  (def listener
    (kqnet/server "127.0.0.1" (scan-number (or port "8000"))
                  # An error ends only one connection. When a client goes away, no stack trace is needed.
                  (fn [conn] (defer (:close conn) (try (serve conn) ([_] nil))))
                  :max-connections 1000 :nodelay true))
  (def ended (ev/chan 1))
  (each signal [:int :term]
    (os/sigaction signal (fn [] (ev/give ended true)) true))
  (print (string/join (map string (net/localname listener)) ":"))
  (flush)
  (ev/take ended)
  (kqnet/drain listener 1 :cancel true)
  (os/exit 0))
