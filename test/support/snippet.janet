###
### Loaded before a snippet of the docs (janet -l ./snippet program.janet): it takes a free port instead of the one in the text.
###
### So the snippet can be run as it stands, beside whatever else runs on this machine. Prints "serving" and the port once it
### accepts connections.
###

(def- native (require "kqnet/_native"))
(def- listen (get-in native ['listen :value]))

(defn- tell
  "Prints the port of a listener once kqnet accepts from it."
  [listener]
  (def {:stats stats} (tabseq [[name entry] :pairs (require "kqnet") :when (symbol? name)] (keyword name) (entry :value)))
  (while (empty? (stats)) (ev/sleep 0.002))
  (print "serving " (get (net/localname listener) 1 ""))
  (flush))

# kqnet's own modules are loaded after this, and find the changed function.
(put native 'listen
     @{:value (fn [host port & rest]
                (def listener (listen host (if (= host :unix) port 0) ;rest))
                (ev/go tell listener)
                listener)})
