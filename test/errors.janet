###
### What kqnet refuses, and with which words.
###
### No error leaves a descriptor or a fiber behind, and a listener still works after a call on it has failed.
###

(import ./support :as t)
(import kqnet)

(def- host "127.0.0.1")

# The queue is made when it is first needed, and stays open.
(with [l (kqnet/server host 0 t/echo)]
  (t/ask l))

(defn- without
  "A text in which what differs from run to run is replaced by a word."
  [text replaced]
  (var result text)
  (eachp [word value] replaced
    (set result (string/replace-all (string value) word result)))
  result)

(defn- refused
  ``Fails unless a call raises this error and leaves neither a descriptor nor a fiber behind. If the
  expected text ends with "…", the error only has to begin with it.``
  [expected call &opt replaced]
  # What has just ended is gone after this.
  (ev/sleep 0)
  (gccollect)
  (def before [(t/descriptors) (t/tasks)])
  (def text (without (t/raised call) (or replaced {})))
  (def beginning (string/replace "…" "" expected))
  (if (and (not= beginning expected) (string? text))
    (t/same beginning (string/slice text 0 (min (length beginning) (length text))) "how the error begins")
    (t/same expected text "an error"))
  (t/settles before |[(t/descriptors) (t/tasks)] "descriptors and fibers"))

(defn- goes-on
  "Fails unless a listener that nobody accepts from can still be accepted from."
  [l]
  (def conn (t/background |(kqnet/accept l)))
  (def answer (t/background |(t/ask l)))
  (t/echo (last (ev/take conn)))
  (t/same [true "hello\n"] (ev/take answer) "an answer after the error"))

# Where to listen.

(t/test "the error for a taken port names it"
  (with [l (kqnet/listen host 0)]
    (def replaced {"PORT" (t/port l)})
    (def expected "cannot listen on 127.0.0.1:PORT: address already in use")
    (refused expected |(kqnet/listen host (t/port l)) replaced)
    (refused expected |(kqnet/listen host (string (t/port l))) replaced)
    (refused expected |(kqnet/listen host (t/port l) :stream true) replaced)
    (refused expected |(kqnet/server host (t/port l) t/echo) replaced)
    (goes-on l)))

(t/test "a port is taken when a listener of core has it"
  (with [l (net/listen host 0)]
    (refused "cannot listen on 127.0.0.1:PORT: address already in use"
             |(kqnet/listen host (t/port l)) {"PORT" (t/port l)})))

(t/test "a port is shared only if both listeners ask for it"
  (with [l (kqnet/listen host 0)]
    (refused "cannot listen on 127.0.0.1:PORT: address already in use"
             |(kqnet/listen host (t/port l) :reuse-port true) {"PORT" (t/port l)})))

(defn- system-words
  "The system's error texts for an unknown host and an unknown service."
  [host port]
  (def text (t/raised |(net/listen host port)))
  (def reason (last (string/split ": " text)))
  (string (string/ascii-lower (string/slice reason 0 1)) (string/slice reason 1)))

(t/test "the error for an unknown host names it"
  # This is too long for a label, so no name server is asked.
  (def name (string/repeat "x" 70))
  (refused (string "cannot listen on " name ":80: " (system-words name 80)) |(kqnet/listen name 80))
  (refused (string "cannot listen on " name ":80: " (system-words name 80)) |(kqnet/server name 80 t/echo)))

(t/test "the error for an unknown service names it"
  (refused (string "cannot listen on 127.0.0.1:no-such-service: " (system-words host "no-such-service"))
           |(kqnet/listen host "no-such-service")))

(t/test "the error for an address of another machine names it"
  # This address is reserved for documentation (RFC 5737), so no machine has it.
  (refused (string "cannot listen on 192.0.2.1:0: " (if t/linux? "cannot" "can't") " assign requested address")
           |(kqnet/listen "192.0.2.1" 0)))

(t/test "the error for a port out of range shows it"
  (each port [-1 65536 0.5 1e10 math/inf math/-inf -0.5 "65536" "99999999999999999999"]
    (refused (string/format "a port is an integer from 0 to 65535, got %q" port) |(kqnet/listen host port)))
  (refused "a port is an integer from 0 to 65535, got nan" |(kqnet/listen host math/nan)))

(t/test "the error for a port of a wrong type shows it"
  (refused "a port must be a string, got true" |(kqnet/listen host true))
  (refused "a port must be a string, got :http" |(kqnet/listen host :http)))

(t/test "the error for a host of a wrong type shows it"
  (refused "a host must be a string, got nil" |(kqnet/listen nil 0))
  (refused "a host must be a string, got 127" |(kqnet/listen 127 0))
  (refused "a host must be a string, got :localhost" |(kqnet/listen :localhost 0))
  (refused "a host must be a string, got :localhost" |(kqnet/server :localhost 0 t/echo)))

(t/test "the error for a name with a NUL shows it"
  (refused `a host has a NUL in it: "127.0.0.1\0evil"` |(kqnet/listen "127.0.0.1\0evil" 0))
  (refused `a port has a NUL in it: "80\0"` |(kqnet/listen host "80\0"))
  (refused `the path of a unix socket has a NUL in it: "/tmp/x\0y"` |(kqnet/listen :unix "/tmp/x\0y")))

(t/test "the error for a path that is too long names it, with its length and the limit"
  (def path (string "/tmp/" (string/repeat "x" 200)))
  (refused (string "cannot listen on unix:" path ": the path has 205 bytes; a unix socket's path may have at most "
                   (if t/linux? 107 103))
           |(kqnet/listen :unix path))
  (t/same nil (os/stat path)))

(t/test "the error for a path in use names it"
  (def path (t/scratch "socket"))
  (with [l (kqnet/listen :unix path)]
    (refused "cannot listen on unix:PATH: address already in use" |(kqnet/listen :unix path) {"PATH" path})
    (goes-on l)))

(t/test "the error for the path of a file that is not a socket names it, and the file stays"
  (def path (t/scratch "file"))
  (spit path "precious")
  (defer (os/rm path)
    (refused "cannot listen on unix:PATH: address already in use" |(kqnet/listen :unix path) {"PATH" path})
    (t/same "precious" (string (slurp path)))))

(t/test "the error for a path in a folder that does not exist names it"
  (refused "cannot listen on unix:/no-such-folder/socket: no such file or directory"
           |(kqnet/listen :unix "/no-such-folder/socket")))

(t/test "a path of a wrong type, or an empty one, is refused"
  (refused "the path of a unix socket must be a string, got nil" |(kqnet/listen :unix nil))
  (refused "the path of a unix socket must be a string, got 80" |(kqnet/listen :unix 80))
  (refused "the path of a unix socket is empty" |(kqnet/listen :unix "")))

(t/test "the socket type must be one of two"
  (refused "expected socket type as :stream or :datagram, got :raw" |(kqnet/listen host 0 :raw))
  (refused "expected socket type as :stream or :datagram, got \"stream\"" |(kqnet/listen host 0 "stream"))
  (refused "expected socket type as :stream or :datagram, got :raw" |(kqnet/server host 0 t/echo :raw))
  (refused "handler not supported for :datagram servers" |(kqnet/server host 0 t/echo :datagram)))

# Handlers.

(t/test "the error for a handler that cannot be one shows it, and nothing was opened"
  (defn both [expected handler &opt replaced]
    (with [l (kqnet/listen host 0)]
      (refused expected |(kqnet/accept-loop l handler) replaced)
      (goes-on l))
    (refused expected |(kqnet/server host 0 handler) replaced))
  (both "a handler must be a function, got 5" 5)
  (both "a handler must be a function, got <cfunction print>" print)
  (both "a handler must take one argument, the connection; <function nothing> does not" (fn nothing []))
  (both "a handler must take one argument, the connection; <function two> does not" (fn two [a b]))
  # For the server, the first of these is not a handler but an option.
  (with [l (kqnet/listen host 0)]
    (refused "a handler must be a function, got nil" |(kqnet/accept-loop l nil))
    (refused "a handler must be a function, got :handler" |(kqnet/accept-loop l :handler))
    (goes-on l)))

# What to accept from.

(defn- neither
  "Fails unless accept and accept-loop both refuse a value."
  [expected value &opt replaced]
  (refused expected |(kqnet/accept value) replaced)
  (refused expected |(kqnet/accept value 1) replaced)
  (refused expected |(kqnet/accept-loop value t/echo) replaced))

(t/test "the error for what is not a stream shows it"
  (each value [nil 5 "listener" :listener]
    (neither (string/format "expected a core/stream, got %q" value) value)))

(t/test "a closed listener is refused"
  (each listen [kqnet/listen net/listen]
    (def l (listen host 0))
    (:close l)
    (neither "cannot accept: the listener is closed" l)))

(t/test "a listener that was accepted from and is now closed is refused"
  (def l (kqnet/listen host 0))
  (goes-on l)
  (:close l)
  (neither "cannot accept: the listener is closed" l))

(t/test "a connection is not a listener"
  (with [l (kqnet/listen host 0)]
    (with [client (t/connect l)]
      (with [conn (kqnet/accept l)]
        (neither "cannot accept: the stream is not a listener" conn)
        (neither "cannot accept: the stream is not a listener" client)
        (:write client "ping")
        (t/same "ping" (string (:read conn 10)))))))

(t/test "a datagram socket is not a listener"
  (each listen [kqnet/listen net/listen]
    (with [l (listen host 0 :datagram)]
      (neither "cannot accept: the stream is not a listener" l))))

(t/test "a pipe is not a listener"
  (def [out in] (os/pipe))
  (defer (do (:close out) (:close in))
    (neither "cannot accept: the stream is not a listener" out)))

(t/test "a socket that has stopped listening is refused"
  # On FreeBSD shutdown resets the next client, and then the socket listens as before.
  (unless (has-value? [:linux :macos] (os/which)) (t/skip "a listener of this system survives being shut down"))
  (each listen [kqnet/listen net/listen]
    (with [l (listen host 0)]
      (def shut? (= :nothing (t/raised |(net/shutdown l))))
      (cond
        # macOS only shuts down sockets that are connected.
        (not shut?) (goes-on l)
        (= :epoll (kqnet/backend))
        (neither "cannot accept: the stream is not a listener: it is not listening" l)))))

(t/test "when a socket stops listening, the wait ends, and the socket is refused from then on"
  # Of the kernels with kqueue, only FreeBSD reports it.
  (when (= :kqueue (kqnet/backend)) (t/skip "a kqueue does not report that a listener was shut down"))
  (each [name call] [["accept" |(kqnet/accept $)]
                     ["accept-loop" |(kqnet/accept-loop $ t/echo)]]
    (with [l (kqnet/listen host 0)]
      (def result (t/background |(call l)))
      (ev/sleep 0)
      (net/shutdown l)
      (t/same [false "cannot accept: the stream is not a listener: it is not listening"] (ev/take result) name)
      (neither "cannot accept: the stream is not a listener: it is not listening" l))))

(t/test "a server has claimed its listener when it returns"
  (with [l (kqnet/server host 0 t/echo)]
    # The server's fiber has not had a turn yet.
    (neither "cannot accept on 127.0.0.1:PORT: another fiber is accepting on this listener" l {"PORT" (t/port l)})
    (t/same "hello\n" (t/ask l))
    (neither "cannot accept on 127.0.0.1:PORT: another fiber is accepting on this listener" l {"PORT" (t/port l)})
    (t/same "hello\n" (t/ask l))))

(t/test "core's accept, which ignores the claim, does not end the server"
  (with [l (kqnet/server host 0 t/echo)]
    # The server's fiber has its first turn while core's accept waits.
    (t/same "timeout" (t/raised |(net/accept l 0)))
    (t/same "hello\n" (t/ask l))))

(t/test "a second fiber is refused on the same listener"
  (each [name call] [["accept" |(kqnet/accept $)]
                     ["accept-loop" |(kqnet/accept-loop $ t/echo)]
                     ["core's accept" |(net/accept $)]
                     ["core's accept-loop" |(net/accept-loop $ t/echo)]]
    (with [l (kqnet/listen host 0)]
      (def result (t/background |(call l)))
      (ev/sleep 0)
      (neither "cannot accept on 127.0.0.1:PORT: another fiber is accepting on this listener"
               l {"PORT" (t/port l)})
      # The first fiber is not disturbed.
      (def answer (t/background |(t/ask l)))
      (unless (string/has-suffix? "loop" name)
        (t/echo (last (ev/take result))))
      (t/same [true "hello\n"] (ev/take answer) name))))

(t/test "the error for a second fiber on a unix socket names its path"
  (def path (t/scratch "socket"))
  (with [l (kqnet/server :unix path t/echo)]
    (ev/sleep 0)
    (neither "cannot accept on unix:PATH: another fiber is accepting on this listener" l {"PATH" path})
    (t/same "hello\n" (t/ask l))))

(t/test "accept raises a timeout if no connection comes in time"
  (with [l (kqnet/listen host 0)]
    (refused "timeout" |(kqnet/accept l 0.01))
    (refused "timeout" |(kqnet/accept l 0))
    (refused "timeout" |(kqnet/accept l -1))
    (goes-on l)))

(t/test "the error for a timeout that is not a number of seconds shows it"
  (with [l (kqnet/listen host 0)]
    (refused "a timeout is a number of seconds, got :soon" |(kqnet/accept l :soon))
    (refused "a timeout is a number of seconds, got \"1\"" |(kqnet/accept l "1"))
    (refused "a timeout is a number of seconds, got nan" |(kqnet/accept l math/nan))
    (each seconds [1e10 1e18 math/-inf]
      (refused (string/format "a timeout is a finite number of seconds, at most 1e9, or math/inf for none, got %q" seconds)
               |(kqnet/accept l seconds)))
    (goes-on l)))

(t/test "a cancelled accept leaves the listener usable"
  (with [l (kqnet/listen host 0)]
    (refused "enough"
             (fn []
               (def result (ev/chan 1))
               (def fiber (ev/go (fn [] (ev/give result (protect (kqnet/accept l))))))
               (ev/sleep 0)
               (ev/cancel fiber "enough")
               (error (last (ev/take result)))))
    (goes-on l)))

# Options.

(t/test "the value of each option is checked"
  (def wrong
    {:backlog ["a positive integer" 0 -1 1.5 "5" :many 1e10]
     :batch ["a positive integer" 0 -1 1.5 "5" math/inf]
     :nodelay ["true or false" 1 "yes" :true]
     :reuse-port ["true or false" 1 "yes"]})
  (eachp [name [words & values]] wrong
    (each value values
      (def expected (string/format ": %q must be %s, got %q" name words value))
      (refused (string "kqnet/server" expected) |(kqnet/server host 0 t/echo name value))
      (refused (string "kqnet/server" expected) |(kqnet/server host 0 t/echo :stream false name value))
      (refused (string "kqnet/server" expected) |(kqnet/server host 0 name value))
      (if (= :batch name)
        (with [l (kqnet/listen host 0)]
          (refused (string "kqnet/accept-loop" expected) |(kqnet/accept-loop l t/echo name value))
          (goes-on l))
        (refused (string "kqnet/listen" expected) |(kqnet/listen host 0 name value))))))

(t/test "an option that has no effect at an address is an error that says where it applies"
  (def path (t/scratch "socket"))
  (each [text & args]
    [["cannot listen on 127.0.0.1:0: :mode applies only to the file of a unix socket" host 0 :mode 8r600]
     ["cannot listen on 127.0.0.1:0: :mode applies only to the file of a unix socket" host 0 :datagram :mode 8r600]
     ["cannot listen on unix:PATH: :reuse-port applies only to ports, which a unix socket does not have" :unix path :reuse-port true]
     ["cannot listen on unix:PATH: :nodelay applies only to TCP" :unix path :nodelay true]
     ["cannot listen on unix:PATH: :nodelay applies only to TCP" :unix path :datagram :nodelay true]
     ["cannot listen on 127.0.0.1:0: :nodelay applies only to TCP" host 0 :datagram :nodelay true]
     ["cannot listen on 127.0.0.1:0: :backlog applies only to connections, which a :datagram socket does not have"
      host 0 :datagram :backlog 5]]
    (refused text |(kqnet/listen ;args) {"PATH" path})
    (refused text |(kqnet/server ;(take 2 args) nil ;(drop 2 args)) {"PATH" path})
    (t/same nil (os/lstat path)))
  # A value that asks for nothing is allowed.
  (:close (kqnet/listen :unix path :nodelay false :reuse-port false))
  (each [name value] [[:batch 5] [:max-connections 5] [:max-accept-rate 5] [:on-error (fn [l text])]]
    (refused (string/format "kqnet/server: %q is for a server with a handler" name)
             |(kqnet/server host 0 name value))))

(t/test "the error for an :on-error that does not take two arguments shows it, and nothing was opened"
  (def replaced {"ONE" (fn one [x] x)})
  (def expected ":on-error must take two arguments, the listener and the message; ONE does not")
  (def wrong (replaced "ONE"))
  (refused expected |(kqnet/server host 0 t/echo :on-error wrong) replaced)
  (refused expected |(kqnet/server host 0 :on-error wrong) replaced)
  (with [l (kqnet/listen host 0)]
    (refused expected |(kqnet/accept-loop l t/echo :on-error wrong) replaced)
    (goes-on l)))

(t/test "the error for an unknown option names it, and lists the existing ones"
  (refused "kqnet/listen: unknown option :backlogg; the options are :backlog, …"
           |(kqnet/listen host 0 :backlogg 5))
  (refused "kqnet/listen: unknown option :batch; the options are :backlog, …"
           |(kqnet/listen host 0 :batch 5))
  (refused "kqnet/server: unknown option :handler; the options are …"
           |(kqnet/server host 0 :handler t/echo))
  (refused "kqnet/server: unknown option :timeout; the options are …"
           |(kqnet/server host 0 t/echo :backlog 5 :timeout 5))
  (with [l (kqnet/listen host 0)]
    (refused "kqnet/accept-loop: unknown option :backlog; the options are :batch, …"
             |(kqnet/accept-loop l t/echo :backlog 5))
    (goes-on l)))

(t/test "an option without a value is an error"
  (refused "kqnet/listen: :backlog needs a value" |(kqnet/listen host 0 :backlog))
  (refused "kqnet/server: :batch needs a value" |(kqnet/server host 0 t/echo :backlog 5 :batch))
  (with [l (kqnet/listen host 0)]
    (refused "kqnet/accept-loop: :batch needs a value" |(kqnet/accept-loop l t/echo :batch))
    (goes-on l)))

(t/test "too many arguments are an error"
  (refused "kqnet/listen: too many arguments: 5" |(kqnet/listen host 0 :stream false 5))
  (refused "kqnet/server: too many arguments: \"more\"" |(kqnet/server host 0 t/echo :stream false "more"))
  (with [l (kqnet/listen host 0)]
    (refused "kqnet/accept-loop: too many arguments: 5" |(kqnet/accept-loop l t/echo 5))
    (goes-on l)))

(t/finish)
