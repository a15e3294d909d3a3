###
### Closing a channel without waking tasks that no longer wait for it.
###

(import ./_native :as native)

(defn close
  "Closes a channel. Before Janet 1.41, `ev/chan-close` also resumes tasks that once selected from the channel and wait for something
  else by now."
  [channel]
  (native/forget-old-waits channel)
  (ev/chan-close channel))
