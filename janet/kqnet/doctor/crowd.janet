###
### Connects many clients at once, and counts how many of them a server answers.
###

(def longest "Seconds after which waiting for a crowd ends, whatever happens." 20)

(defn- client
  "Connects, sends a byte and waits for one. Counts in `seen` how far it got, or puts there why it cannot connect."
  [host port seen]
  (def conn (try (net/connect host port)
              ([err] (put seen :error err) (error err))))
  (defer (:close conn)
    (++ (seen :connected))
    (:write conn "?")
    (when (:read conn 1) (++ (seen :answered)))))

(defn answered
  ``Has `clients` clients connect to a server at once. Returns a struct of:

  * :clients - how many there were.
  * :connected - how many of them the system connected. It repeats a lost packet after a second or more, so some may
    still be waiting for it at the end.
  * :answered - how many of those the server answered.

  Waiting ends when all clients are answered, or when the server has given `beats` signs of life and no client has
  got any further. `beat` returns after one such sign, and `least` is the shortest time of waiting, in seconds. A server
  that is slow because the machine is busy gives its signs slowly too, so the result does not depend on speed.

  Raises an error when a client cannot connect, such as for lack of descriptors: nothing can be said of the server then.``
  [clients host port beat beats least]
  (def seen @{:connected 0 :answered 0})
  (def tasks (seq [_ :range [0 clients]] (ev/go (fn doctor-client [] (protect (client host port seen))))))
  (def end (+ longest (os/clock :monotonic)))
  (var before [0 0])
  (var since (os/clock :monotonic))
  (var still 0)
  (forever
    (beat)
    (def {:connected connected :answered answered :error err} seen)
    (when err (break))
    (def now (os/clock :monotonic))
    (if (= before [connected answered])
      (++ still)
      (do (set before [connected answered]) (set since now) (set still 0)))
    (def is-still (and (>= still beats) (>= (- now since) least)))
    (when (or (= clients answered)
              (> now end)
              # A client that is not connected yet is not the server's fault.
              (and is-still (or (< answered connected) (zero? connected))))
      (break)))
  (def failure (seen :error))
  (each task tasks (when (fiber/can-resume? task) (protect (ev/cancel task "no answer"))))
  (when failure (error (string "a client cannot connect: " failure)))
  {:clients clients :connected (seen :connected) :answered (seen :answered)})

(defn unanswered
  "How many connected clients of a crowd got no answer."
  [{:connected connected :answered answered}]
  (- connected answered))

(defn twice
  ``Makes an experiment, and makes it again if it leaves clients unanswered: only what happens twice is the server's
  doing, and not an accident of the machine. Returns the better of the two results.``
  [experiment & args]
  (def first-time (experiment ;args))
  (if (pos? (unanswered first-time))
    (let [again (experiment ;args)]
      (if (< (unanswered again) (unanswered first-time)) again first-time))
    first-time))
