###
### What net/… and kqnet/… do alike, and where they differ and why.
###
### Each behaviour runs twice: once with core's functions and once with kqnet's.
###

(import ./support :as t)
(import kqnet)

(defn- implementation
  "Functions as methods, so that (:listen net host port) reads like (net/listen host port)."
  [name functions]
  (def methods (tabseq [[key f] :pairs functions] key (fn [_ & args] (f ;args))))
  (table/to-struct (merge methods {:name name})))

(def- core
  (implementation "core" {:listen net/listen
                          :accept net/accept
                          :accept-loop net/accept-loop
                          :server net/server}))

(def- ours
  (implementation "kqnet" {:listen kqnet/listen
                           :accept kqnet/accept
                           :accept-loop kqnet/accept-loop
                           :server kqnet/server}))

(defn- row
  [name {:core in-core :kqnet in-kqnet :because reason :core-cannot core-cannot :kqnet-cannot kqnet-cannot} body]
  (when reason (print "      differs: " reason))
  (each [net expected cannot] [[core in-core core-cannot] [ours in-kqnet kqnet-cannot]]
    (t/test (string (net :name) ": " name)
      (when cannot (t/skip cannot))
      (t/same expected (body net)))))

(def- before-1.38
  "A reason to skip core's part."
  (unless (t/version-at-least? [1 38]) "core can do this since Janet 1.38"))

(def- stalls
  "A reason to skip core's part."
  (if (and (= :kqueue (kqnet/backend))
           (has-value? [nil "xnu"] (os/getenv "KQUEUE_EMU_KERNEL"))
           (not (t/version-at-least? [1 38])))
    "core leaves connections in the backlog here (janet#1560)"))

(defmacro- alike
  "A behaviour that core and kqnet share: its name, the expected result, options of `row`, and the code that gives the result."
  [name expected & body]
  (def options (if (struct? (first body)) (first body) {}))
  (def code (if (struct? (first body)) (drop 1 body) body))
  ~(,row ,name (merge {:core ,expected :kqnet ,expected} ,options) (fn [net] ,;code)))

(defmacro- differs
  "A behaviour in which core and kqnet differ."
  [name how & body]
  ~(,row ,name ,how (fn [net] ,;body)))

(def- host "127.0.0.1")

(defn- raises?
  "Whether a call raises an error. errors.janet checks the exact texts of kqnet."
  [thunk]
  (not= :nothing (t/raised thunk)))

# Where to listen.

(alike "port 0 takes a free port"
       [host true]
       (with [l (:listen net host 0)]
         (def [name port] (net/localname l))
         [name (< 0 port 65536)]))

(alike "a port is an integer"
       true
       (def port (t/free-port))
       (with [l (:listen net host port)]
         (= [host port] (net/localname l))))

(alike "a port is a numeric string"
       true
       (def port (t/free-port))
       (with [l (:listen net host (string port))]
         (= [host port] (net/localname l))))

(alike "without a port, any free port is taken"
       true
       (with [l (:listen net host nil)]
         (pos? (t/port l))))

(defn- known-service
  "The name of a service of this system with a port above the reserved ones that is free."
  []
  (def line '(* '(some (range "az" "AZ" "09" "--")) (some (set " \t")) (number :d+) "/tcp"))
  (def names (try (string/split "\n" (slurp "/etc/services")) ([_] [])))
  (some (fn [text]
          (when-let [[name port] (peg/match line text)
                     _ (> port 1024)
                     [ok l] (protect (net/listen host port))]
            (when ok
              (:close l)
              [name port])))
        names))

(if-let [[name port] (known-service)]
  (alike "a port is the name of a service"
         port
         (with [l (:listen net host name)]
           (t/port l)))
  (t/test "a port is the name of a service"
    (t/skip "this system names no service whose port is free")))

(alike "a host is a name"
       "hello\n"
       (with [l (:server net "localhost" 0 t/echo)]
         (t/ask l)))

(alike "an unknown service is an error"
       true
       (raises? |(:listen net host "no-such-service")))

(alike "a host that is not a string is an error"
       [true true true]
       (map |(raises? (fn [] (:listen net $ 0))) [nil 127 :localhost]))

(if (first (protect (:close (net/listen "::1" 0))))
  (alike "IPv6"
         ["::1" "hello\n"]
         (with [l (:server net "::1" 0 t/echo)]
           [(first (net/localname l)) (t/ask l)]))
  (t/test "IPv6" (t/skip "this system has no IPv6 loopback address")))

(defn- with-path
  [body]
  (def path (t/scratch "socket"))
  (defer (protect (os/rm path))
    (body path)))

(def- no-unix
  (unless (with-path |(first (protect (:close (net/listen :unix $)))))
    "core's net/listen fails here: it asks for SO_REUSEPORT"))

(alike "a unix socket: the path exists, and clients are answered"
       ["hello\n" true true]
       {:core-cannot no-unix}
       (with-path
         (fn [path]
           (with [l (:server net :unix path t/echo)]
             [(t/ask l) (= [path] (net/localname l)) (truthy? (os/stat path))]))))

(differs "what happens to a unix socket's path when it is closed"
         {:core true
          :kqnet false
          :because "kqnet removes the file that it made; core leaves it, and the next server cannot listen there"
          :core-cannot no-unix}
         (with-path
           (fn [path]
             (:close (:listen net :unix path))
             (truthy? (os/stat path)))))

(differs "a path that a dead server left behind"
         {:core "could not bind socket: Address already in use"
          :kqnet "hello\n"
          :because "kqnet checks whether a server listens there, and takes the path if none does"
          :core-cannot no-unix}
         (with-path
           (fn [path]
             (def server (t/start-forms ['(import kqnet)
                                         ~(def l (kqnet/listen :unix ,path))
                                         '(print "listening")
                                         '(flush)
                                         '(kqnet/accept l)]))
             (:line server)
             (:close server)
             (match (protect (:server net :unix path t/echo))
               [true l] (with [l l] (t/ask l))
               [false err] err))))

(alike "listening on the path of a living server is an error"
       true
       {:core-cannot no-unix}
       (with-path
         (fn [path]
           (with [l (:listen net :unix path)]
             (raises? |(:listen net :unix path))))))

(if t/linux?
  (alike "an abstract name leaves no file, and is free again once closed"
         ["hello\n" "@" "hello\n"]
         {:core-cannot no-unix
          :kqnet-cannot
          (unless (t/version-at-least? [1 38])
            "net/connect of older Janet fills such a name up with NUL, and so finds only its own kind")}
         (def name (string "@" (last (string/split "/" (t/scratch "abstract")))))
         (defn once []
           (with [l (:server net :unix name t/echo)]
             [(t/ask l) (first (net/localname l))]))
         (def [answer local] (once))
         [answer (string/slice local 0 1) (first (once))])
  (t/test "an abstract name" (t/skip "only Linux has them")))

(alike "type nil and :stream are the same"
       ["hello\n" "hello\n"]
       (seq [kind :in [nil :stream]]
         (with [l (:server net host 0 t/echo kind)]
           (t/ask l))))

(alike "another type is an error"
       "expected socket type as :stream or :datagram, got :raw"
       (t/raised |(:listen net host 0 :raw)))

(alike "a type that is not a keyword is an error"
       true
       (raises? |(:listen net host 0 "stream")))

(alike "a datagram socket receives and answers"
       ["ping" "pong"]
       (with [l (:listen net host 0 :datagram)]
         (with [client (net/connect host (string (t/port l)) :datagram)]
           (:write client "ping")
           (def buf @"")
           (def from (:recv-from l 100 buf))
           (:send-to l from "pong")
           [(string buf) (string (:read client 100))])))

(alike "a datagram server needs no handler"
       "ping"
       (with [l (:server net host 0 nil :datagram)]
         (with [client (net/connect host (string (t/port l)) :datagram)]
           (:write client "ping")
           (def buf @"")
           (:recv-from l 100 buf)
           (string buf))))

(alike "a datagram server with a handler is an error"
       "handler not supported for :datagram servers"
       {:core-cannot before-1.38}
       (t/raised |(:server net host 0 t/echo :datagram)))

(alike "accepting on a datagram socket is an error"
       [true true]
       (with [l (:listen net host 0 :datagram)]
         [(raises? |(:accept net l))
          (raises? |(:accept-loop net l t/echo))]))

(defn- with-held-port
  "Calls a function with a port whose listener is closed, but on which an old connection is still open."
  [f]
  (def l (net/listen host 0))
  (def port (t/port l))
  (def conn (t/background |(net/accept l)))
  (with [client (t/connect l)]
    (with [server (last (ev/take conn))]
      (:close l)
      (f port))))

(alike "a port is free although an old connection still uses it"
       true
       (with-held-port
         (fn [port]
           (with [l (:listen net host port)]
             (= port (t/port l))))))

(alike "with no-reuse, a port that an old connection still uses is taken"
       [true true]
       {:core-cannot before-1.38}
       (with-held-port
         (fn [port]
           [(raises? |(:listen net host port :stream true))
            (raises? |(:server net host port t/echo :stream true))])))

(differs "a port that is taken"
         {:core :nothing
          :kqnet "cannot listen on 127.0.0.1:PORT: address already in use"
          :because "core lets two servers share a port, silently; kqnet when :reuse-port asks for it"}
         (with [l (:listen net host 0)]
           (def port (t/port l))
           (match (t/raised |(:close (:listen net host port)))
             (text (string? text)) (string/replace (string port) "PORT" text)
             other other)))

# Accepting one.

(defn- accepted
  "Calls `body` with both ends of a connection: the accepted one and the client's."
  [net body]
  (with [l (:listen net host 0)]
    (with [client (t/connect l)]
      (with [conn (:accept net l)]
        (body conn client)))))

(alike "accept returns a stream that reads and writes"
       [:core/stream "ping" "pong"]
       (accepted net
                 (fn [conn client]
                   (:write client "ping")
                   (def got (string (:read conn 100)))
                   (:write conn "pong")
                   [(type conn) got (string (:read client 100))])))

(alike "accept waits for a connection"
       "hello\n"
       (with [l (:listen net host 0)]
         (def conn (t/background |(:accept net l)))
         (def answer (t/background |(t/ask l)))
         (t/echo (last (ev/take conn)))
         (last (ev/take answer))))

(alike "accept gives waiting connections in order"
       ["0" "1" "2" "3" "4" "5" "6" "7" "8" "9"]
       (with [l (:listen net host 0)]
         (def clients (seq [i :range [0 10]]
                        (t/send l (string i))))
         (defer (each client clients (:close client))
           (seq [_ :range [0 10]]
             (with [conn (:accept net l)]
               (string (:read conn 10)))))))

(alike "accept on a unix socket"
       ["ping" true]
       {:core-cannot no-unix}
       (with-path
         (fn [path]
           (with [l (:listen net :unix path)]
             (with [client (t/connect l)]
               (with [conn (:accept net l)]
                 (:write client "ping")
                 [(string (:read conn 10)) (= [path] (net/localname conn))]))))))

(alike "accept without a connection in time is an error"
       ["timeout" "timeout" "timeout"]
       (with [l (:listen net host 0)]
         (map |(t/raised (fn [] (:accept net l $))) [0.01 0 -1])))

(alike "accept with a connection in time raises no error, then or later"
       [:core/stream "ping"]
       (with [l (:listen net host 0)]
         (with [client (t/connect l)]
           (with [conn (:accept net l 0.02)]
             (def kind (type conn))
             # The timeout of accept passes while the connection is in use.
             (ev/sleep 0.05)
             (:write client "ping")
             [kind (string (:read conn 10))]))))

(alike "accept with no timeout, given explicitly"
       [:core/stream :core/stream]
       (with [l (:listen net host 0)]
         (seq [timeout :in [nil math/inf]]
           (def conn (t/background |(:accept net l timeout)))
           (with [client (t/connect l)]
             (def [_ stream] (ev/take conn))
             (:close stream)
             (type stream)))))

(alike "accept with a timeout that is not a number is an error"
       true
       (with [l (:listen net host 0)]
         (raises? |(:accept net l :soon))))

(alike "accept returns nil when the listener is closed meanwhile"
       [[true nil] [true nil] [true nil]]
       (seq [close :in [:close ev/close net/close]]
         (def l (:listen net host 0))
         (def result (t/background |(:accept net l)))
         (ev/sleep 0)
         (if (keyword? close) (:close l) (close l))
         (ev/take result)))

(alike "a cancelled accept raises the error that it was cancelled with, and the listener still works"
       ["stop" "hello\n"]
       (with [l (:listen net host 0)]
         (def result (ev/chan 1))
         (def fiber (ev/go (fn [] (ev/give result (protect (:accept net l))))))
         (ev/sleep 0)
         (ev/cancel fiber "stop")
         (def [_ err] (ev/take result))
         (def answer (t/background |(t/ask l)))
         (t/echo (:accept net l))
         [err (last (ev/take answer))]))

(alike "accept within a deadline"
       ["deadline expired" "hello\n"]
       (with [l (:listen net host 0)]
         (def err (t/raised |(ev/with-deadline 0.01 (:accept net l))))
         (def answer (t/background |(t/ask l)))
         (t/echo (ev/with-deadline 10 (:accept net l)))
         [err (last (ev/take answer))]))

(alike "accept in a fiber inside the task's main fiber"
       "hello\n"
       (with [l (:listen net host 0)]
         (def answer (t/background |(t/ask l)))
         (resume (coro (resume (coro (t/echo (:accept net l))))))
         (last (ev/take answer))))

(alike "accept returns a connection whose client is already gone"
       nil
       (with [l (:listen net host 0)]
         (:close (t/connect l))
         (with [conn (:accept net l)]
           (:read conn 10))))

(alike "accept refuses what is not a listener"
       [true true true true true]
       (accepted net
                 (fn [conn client]
                   (def closed (:listen net host 0))
                   (:close closed)
                   (map |(raises? (fn [] (:accept net $))) [conn client closed nil "listener"]))))

(differs "a second fiber accepting on one listener"
         {:core [:nothing :waiting :second]
          :kqnet [:error :first :no-second]
          :because "core lets the second replace the first, which then waits for ever; kqnet refuses it"}
         (with [l (:listen net host 0)]
           (def got @{})
           (defn start [name]
             (ev/go (fn [] (put got name (protect (with [conn (:accept net l)] (t/echo conn) name))))))
           (start :first)
           (ev/sleep 0)
           (start :second)
           (ev/sleep 0)
           (t/ask l)
           (def result
             [(match (got :second) [false _] :error :nothing)
              (match (got :first) [true name] name :waiting)
              (match (got :second) [true name] name :no-second)])
           (t/wait-until "an answer" |(some truthy? got))
           result))

# Accepting in a loop.

(defn- looping
  "Calls `body` with a listener on which an accept-loop runs."
  [net handler body]
  (with [l (:listen net host 0)]
    (ev/go (fn [] (:accept-loop net l handler)))
    (body l)))

(alike "accept-loop gives each connection to the handler exactly once"
       (seq [i :range [0 100]] (string i))
       {:core-cannot stalls}
       (var calls 0)
       (looping net (fn [conn] (++ calls) (t/echo conn))
                (fn [l]
                  (def answers (t/together 100 |(t/ask l (string $))))
                  (t/same 100 calls)
                  answers)))

(alike "accept-loop takes the connections that came before it started"
       ["0" "1" "2"]
       {:core-cannot stalls}
       (with [l (:listen net host 0)]
         (def clients (seq [i :range [0 3]]
                        (t/send l (string i))))
         (ev/go (fn [] (:accept-loop net l t/echo)))
         (seq [client :in clients]
           (with [client client] (t/receive client)))))

(alike "a handler that waits does not block the others"
       ["second" "first"]
       (def gate (ev/chan))
       (looping net
                (fn [conn]
                  (defer (:close conn)
                    (def text (:read conn 10))
                    (when (= "first" (string text)) (ev/take gate))
                    (:write conn text)))
                (fn [l]
                  (def first (t/background |(t/ask l "first")))
                  (def second (t/ask l "second"))
                  (ev/give gate true)
                  [second (last (ev/take first))])))

(differs "accept-loop's result when the listener is closed"
         {:core [true nil]
          :kqnet [true :listener]
          :because "the docstring of core's loop promises the stream"}
         (def l (:listen net host 0))
         (def result (t/background |(let [value (:accept-loop net l t/echo)]
                                      (if (= value l) :listener value))))
         (ev/sleep 0)
         (:close l)
         (ev/take result))

(alike "connections stay open when the listener is closed"
       "hello\n"
       (def accepted (ev/chan 1))
       (def gate (ev/chan))
       (looping net
                (fn [conn] (ev/give accepted true) (ev/take gate) (t/echo conn))
                (fn [l]
                  (def answer (t/background |(t/ask l)))
                  (ev/take accepted)
                  (:close l)
                  (ev/give gate true)
                  (last (ev/take answer)))))

(alike "a closed listener refuses clients"
       true
       (def l (:server net host 0 t/echo))
       (def port (t/port l))
       (:close l)
       (raises? |(t/connect port)))

(alike "a handler may have more parameters if they are optional"
       ["hello\n" nil]
       (var rest :unset)
       (looping net
                (fn [conn &opt more] (set rest more) (t/echo conn))
                (fn [l] [(t/ask l) rest])))

(differs "a handler that takes any number of arguments"
         {:core "handler function must take at least 1 argument"
          :kqnet "hello\n"
          :because "such a handler can take the connection, but core requires a mandatory parameter"}
         (with [l (:listen net host 0)]
           (def result (t/background |(:accept-loop net l (fn [& args] (t/echo ;args)))))
           (ev/sleep 0)
           (if (pos? (ev/count result)) (last (ev/take result)) (t/ask l))))

(alike "a handler without parameters is an error"
       true
       (with [l (:listen net host 0)]
         (raises? |(:accept-loop net l (fn [] nil)))))

(alike "a handler that is not a function is an error"
       [true true true]
       (with [l (:listen net host 0)]
         (map |(raises? (fn [] (:accept-loop net l $))) [nil :handler print])))

(differs "dynamic bindings of the fiber that called the loop, seen by a handler"
       {:core [nil nil]
        :kqnet [nil "kept"]
        :because "core's own functions look into an environment, and kqnet gives each connection its own"}
       (with-dyns [:secret "kept"]
         (var seen :unset)
         (looping net
                  (fn [conn] (set seen (dyn :secret)) (:close conn))
                  (fn [l] [(t/ask l "") seen]))
         [nil seen]))

(alike "each handler runs in its own task"
       3
       (def tasks @{})
       (looping net
                (fn [conn] (put tasks (fiber/root) true) (:close conn))
                (fn [l]
                  (repeat 2 (t/ask l ""))
                  (put tasks (fiber/root) true)))
       (length tasks))

(alike "the supervisor of the loop learns that handlers returned, but not that they raised"
       [[:ok true "first\n"] [:ok true "third\n"] 0]
       (def supervisor (ev/chan 10))
       (with [l (:listen net host 0)]
         (defn handler [conn]
           (defer (:close conn)
             (def text (string (:read conn 100)))
             (if (= "second\n" text) (error "meant to be printed") text)))
         (ev/go (fn [] (:accept-loop net l handler)) nil supervisor)
         (defn event []
           (def [signal fiber] (ev/take supervisor))
           [signal (fiber? fiber) (fiber/last-value fiber)])
         (t/ask l "first\n")
         (def first (event))
         (t/ask l "second\n")
         (t/ask l "third\n")
         [first (event) (ev/count supervisor)]))

(alike "the supervisor of the fiber that started a server learns about its handlers"
       [:ok "fine"]
       (def supervisor (ev/chan 10))
       (def listener (ev/chan 1))
       (ev/go (fn [] (ev/give listener (:server net host 0 (fn [conn] (:close conn) "fine"))))
              nil supervisor)
       (with [l (ev/take listener)]
         # The supervisor of the fiber that started it.
         (ev/take supervisor)
         (t/ask l "")
         (def [signal fiber] (ev/take supervisor))
         [signal (fiber/last-value fiber)]))

(alike "server returns the listener, which accepts at once"
       [:core/stream "hello\n"]
       (with [l (:server net host 0 t/echo)]
         [(type l) (t/ask l)]))

(alike "server without a handler only listens"
       "hello\n"
       (with [l (:server net host 0)]
         (def answer (t/background |(t/ask l)))
         (t/echo (:accept net l))
         (last (ev/take answer))))

(alike "too few arguments are an error"
       [true true true true]
       [(raises? |(:listen net host))
        (raises? |(:accept net))
        (raises? |(:accept-loop net))
        (raises? |(:server net host))])

# What an accepted connection can do.

(alike "a connection's methods"
       [:accept :accept-loop :chunk :close :evchunk :evread :evwrite :flush :read :recv-from
        :send-to :setsockopt :shutdown :write]
       (accepted net (fn [conn client] (sort (keys conn)))))

(alike "a listener's methods"
       [:accept :accept-loop :chunk :close :evchunk :evread :evwrite :flush :read :recv-from
        :send-to :setsockopt :shutdown :write]
       (with [l (:listen net host 0)]
         (sort (keys l))))

(alike "closing a listener returns it"
       [true true true]
       (seq [close :in [|(:close $) ev/close net/close]]
         (def l (:listen net host 0))
         (= l (close l))))

(alike "a listener's methods accept connections"
       ["hello\n" "hello\n"]
       (with [l (:listen net host 0)]
         (def answer (t/background |(t/ask l)))
         (t/echo (:accept l))
         (ev/go (fn [] (:accept-loop l t/echo)))
         [(last (ev/take answer)) (t/ask l)]))

(alike ":chunk waits for all bytes"
       "123456"
       (accepted net
                 (fn [conn client]
                   (def got (t/background |(:chunk conn 6)))
                   (:write client "123")
                   (ev/sleep 0)
                   (:write client "456")
                   (string (last (ev/take got))))))

(alike ":read appends to a buffer, and returns nil at the end"
       ["got: ping" nil]
       (accepted net
                 (fn [conn client]
                   (def buf @"got: ")
                   (:write client "ping")
                   (:read conn 10 buf)
                   (:close client)
                   [(string buf) (:read conn 10)])))

(alike ":read :all"
       "all of it"
       (accepted net
                 (fn [conn client]
                   (:write client "all ")
                   (:write client "of it")
                   (:close client)
                   (string (:read conn :all)))))

(alike ":read and :write with a timeout"
       "timeout"
       (accepted net
                 (fn [conn client]
                   (:write conn "x" 10)
                   (t/raised |(:read conn 10 @"" 0.01)))))

(alike "net/… and ev/… functions"
       ["ping" "pong"]
       (accepted net
                 (fn [conn client]
                   (net/write client "ping")
                   (def got (string (ev/read conn 10)))
                   (ev/write conn "pong")
                   (net/flush conn)
                   [got (string (net/chunk client 4))])))

(alike "writing more than the system buffers"
       true
       (def much (string/repeat "0123456789abcdef" 0x20000))
       (looping net
                (fn [conn] (defer (:close conn) (:write conn much)))
                (fn [l] (= much (t/ask l "")))))

(alike "net/localname and net/peername"
       [true true]
       (accepted net
                 (fn [conn client]
                   [(= (net/localname conn) (net/peername client))
                    (= (net/peername conn) (net/localname client))])))

(alike "net/shutdown: the client sees the end, and can still write"
       [nil "ping"]
       (accepted net
                 (fn [conn client]
                   (net/shutdown conn :w)
                   (def end (:read client 10))
                   (:write client "ping")
                   [end (string (:read conn 10))])))

(alike "net/setsockopt"
       nil
       (accepted net (fn [conn client] (net/setsockopt conn :so-keepalive true))))

(alike "closing a stream twice, and using it afterwards"
       [:core/stream true true]
       (accepted net
                 (fn [conn client]
                   (:close conn)
                   [(type (:close conn)) (raises? |(:read conn 10)) (raises? |(:write conn "x"))])))

# Sandboxed.

(defn- forms-for
  "A program written for core, as forms, with the functions of one implementation."
  [net & forms]
  (def ours? (= "kqnet" (net :name)))
  (def replaced '[net/listen net/accept net/accept-loop net/server])
  (defn translate [form]
    (if (and ours? (has-value? replaced form)) (symbol "kq" form) form))
  ['(import kqnet) ;(postwalk translate forms)])

(alike "in a sandbox, listening is an error, but accepting on an existing listener is not"
       [0 "operation forbidden by sandbox\noperation forbidden by sandbox\nhello\n" ""]
       (def [status out err]
         (t/run-forms
           (forms-for net
             '(def l (net/listen "127.0.0.1" 0))
             '(sandbox :net-listen)
             '(defn echo [conn] (defer (:close conn) (:write conn (:read conn 100))))
             '(print (last (protect (net/listen "127.0.0.1" 0))))
             '(print (last (protect (net/server "127.0.0.1" 0 echo))))
             '(ev/go (fn [] (net/accept-loop l echo)))
             '(with [client (net/connect ;(map string (net/localname l)))]
                (:write client "hello")
                (print (:read client 100)))
             '(:close l))))
       [status out err])

(differs "a server that is closed before its loop has begun"
         {:core "error: stream is closed"
          :kqnet ""
          :because "nothing is wrong; core prints the stack trace of an error"}
         (def [_ _ err]
           (t/run-forms
             (forms-for net
               '(:close (net/server "127.0.0.1" 0 (fn [conn] (:close conn))))
               '(ev/sleep 0))))
         (first (string/split "\n" err)))

# Mixed.

(defn- answers
  "The answers that two clients of a listener get. The first client comes before anything accepts."
  [l accept-both]
  (def early (t/send l "early"))
  (def late (t/background accept-both))
  (def texts [(t/receive early) (t/ask l "late")])
  (:close early)
  texts)

(each [name listen net] [["kqnet accepts from a listener of core" net/listen ours]
                         ["core accepts from a listener of kqnet" kqnet/listen core]]
  (t/test (string name ": accept")
    (with [l (listen host 0)]
      (t/same ["early" "late"]
              (answers l |(repeat 2 (t/echo (:accept net l)))))))
  (t/test (string name ": accept-loop")
    (with [l (listen host 0)]
      (t/same ["early" "late"]
              (answers l |(:accept-loop net l t/echo))))))

(t/test "core and kqnet accept from one listener in turn"
  (with [l (net/listen host 0)]
    (t/same (map string (range 10))
            (seq [i :range [0 10]]
              (def answer (t/background |(t/ask l (string i))))
              (t/echo (if (even? i) (net/accept l) (kqnet/accept l)))
              (last (ev/take answer))))))

(t/test "two listeners of kqnet share a port when both ask for it"
  (with [one (kqnet/listen host 0 :reuse-port true)]
    (with [two (kqnet/listen host (t/port one) :reuse-port true)]
      (t/same (net/localname one) (net/localname two)))))

(t/test "kqnet's options may follow the optional arguments, or take their place"
  (each args [[t/echo :batch 1]
              [t/echo nil :backlog 5 :nodelay true]
              [t/echo :stream :reuse-port false]
              [t/echo :stream true :batch 100 :backlog nil]]
    (with [l (kqnet/server host 0 ;args)]
      (t/same "hello\n" (t/ask l)))))

(t/finish)
