###
### What the server has done in the last minute: samples of its statistics, for the charts of the page.
###

(import kqnet)

(def interval "Seconds between two samples." 0.25)
(def kept "How many samples are kept, for a minute." 240)

(var- requests 0)
(def- samples @[])

(defn counting
  "A middleware that counts requests."
  [nextmw]
  (fn [req]
    (++ requests)
    (nextmw req)))

(defn- sample
  "What has been counted so far, in the listener's statistics and here."
  [{:accepted accepted :active active :batches batches :largest-batch largest :aborted aborted :pauses pauses :since since} readers]
  {"at" (os/clock :monotonic) "readers" readers "requests" requests
   "accepted" accepted "active" active "batches" batches "largest" largest "aborted" aborted
   "full" (get pauses :full 0) "short" (get pauses :error 0) "up" (max 0 (- (os/time) since))})

(defn take-one
  "Takes a sample and returns it, or nil before the server listens. `readers` is how many pages are open."
  [readers]
  (when-let [counted (first (kqnet/stats))
             taken (sample counted readers)]
    (array/push samples taken)
    (when (> (length samples) kept) (array/remove samples 0))
    taken))

(defn last-minute
  "The samples of the last minute, the oldest first."
  []
  samples)
