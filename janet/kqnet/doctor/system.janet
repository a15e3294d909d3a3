###
### Describes the system, Janet and kqnet for a report of a fault.
###

(import ../init :as kqnet)

(def- questions
  "Commands that print one line each. What a system does not know is an empty line."
  ```
  line() { "$@" 2>/dev/null | head -n 1 | grep . || echo; }
  line uname -srm
  ulimit -Sn
  ulimit -Hn
  if [ -r /proc/sys/net/core/somaxconn ]; then line cat /proc/sys/net/core/somaxconn
  else line sh -c 'sysctl -n kern.ipc.somaxconn || sysctl -n kern.somaxconn'; fi
  ```)

(defn- answers
  []
  (with [process (os/spawn ["/bin/sh" "-c" questions] : {:out :pipe})]
    (def text (ev/with-deadline 10 (ev/read (process :out) :all)))
    (map |(if (empty? $) nil $) (string/split "\n" (string text)))))

(defn- number-or-text
  [text]
  (and text (or (scan-number text) text)))

(defn describe
  ``Returns a struct of :kqnet and :janet (versions), :build (of Janet), :kernel (what uname(1) says), :queue (:kqueue
  or :epoll), and :limits: :descriptors and :most-descriptors (what ulimit(1) says of this process) and :backlog (the
  longest queue of waiting connections that the system allows). What cannot be found out is nil.``
  []
  (def [kernel descriptors most backlog] (try (answers) ([_] [])))
  {:kqnet kqnet/version
   :janet janet/version
   :build janet/build
   :kernel (or kernel (string (os/which) " " (os/arch)))
   :queue (kqnet/backend)
   :limits {:descriptors (number-or-text descriptors)
            :most-descriptors (number-or-text most)
            :backlog (number-or-text backlog)}})
