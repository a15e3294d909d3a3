###
### The clients behind proxies: which headers are believed, and the PROXY protocol.
###

(import ./support :as t)
(import ./support/http :as h)
(import ./support/programs)
(t/need-spork)
(import kqnet)
(import kqnet/http)

(def- host "127.0.0.1")

(defn- show
  "Answers with what is known of the client."
  [req]
  {:body (string/format "%s %s %s" (or (http/client-address req) "-") (string (or (http/client-port req) "-")) (req :scheme))})

(defn- serve [handler & options] (http/server handler host 0 ;options))

(defn- ended
  [server]
  (t/wait-until "the end of all connections" |(zero? ((kqnet/stats server) :active))))

(defn- seen
  "What a server says about the client of a request with these headers."
  [server & headers]
  ((h/fetch server "GET" "/" headers) :body))

# Headers.

(def- spoofed
  [["X-Forwarded-For: 1.1.1.1"]
   ["X-Forwarded-For: 127.0.0.1"]
   ["X-Forwarded-Proto: https"]
   ["X-Forwarded-Host: evil"]
   ["X-Real-IP: 1.1.1.1"]
   ["Forwarded: for=1.1.1.1;proto=https"]
   ["X-Forwarded-For: 1.1.1.1" "X-Forwarded-For: 2.2.2.2" "X-Forwarded-Proto: https" "Forwarded: for=3.3.3.3"]])

(defn- itself?
  "Whether a server has seen this machine itself, without TLS."
  [text]
  (peg/match '(* "127.0.0.1 " :d+ " http" -1) text))

(t/test "client: headers of a peer that is not trusted change nothing"
  (each options [[] [:trusted-proxies []] [:trusted-proxies ["10.0.0.0/8" "::1" "unix" "private"]]
                 [:trusted-proxies ["192.0.2.1"] :forwarded-header :forwarded]]
    (with [server (serve show ;options)]
      (each headers [[] ;spoofed]
        (def text (seen server ;headers))
        (t/check (itself? text) (string/format "%q with %q: %s" options headers text))))))

(t/test "client: what a trusted proxy says is believed, from the right"
  (with [server (serve show :trusted-proxies ["loopback" "10.0.0.0/8"])]
    (each [expected & headers]
      [["1.1.1.1 - http" "X-Forwarded-For: 1.1.1.1"]
       ["1.1.1.1 - https" "X-Forwarded-For: 9.9.9.9, 1.1.1.1" "X-Forwarded-Proto: https"]
       ["1.1.1.1 - http" "X-Forwarded-For: 9.9.9.9" "X-Forwarded-For: 1.1.1.1, 10.1.1.1" "X-Forwarded-For: 10.0.0.1"]
       ["2001:db8::1 4711 https" `Forwarded: for="[2001:db8::1]:4711";proto=https, for=10.0.0.1`]
       ["1.1.1.1 - http" "X-Forwarded-For: 1.1.1.1" "Forwarded: for=2.2.2.2;proto=https"]
       ["- - http" "X-Forwarded-For: 1.1.1.1, unknown"]
       ["- - http" "Forwarded: for=1.1.1.1, for=_hidden"]
       ["- - http" "X-Forwarded-For: 1.1.1.1, garbage, 10.0.0.1"]
       ["1.1.1.1 - http" "X-Forwarded-For: ::ffff:1.1.1.1"]
       ["1.1.1.1 - http" (string "X-Forwarded-For: 1.1.1.1" (string/repeat ",10.0.0.1" 1600))]
       ["1.1.1.1 - http" "X-Forwarded-For: 1.1.1.1" ;(array/new-filled 90 "X-Forwarded-For: 10.0.0.1")]]
      (t/same expected (seen server ;headers) (string (first headers))))
    (t/check (itself? (seen server)) "the proxy's own requests")))

(t/test "client: only the kind of header that the proxies set is believed, if that is said"
  (def both ["X-Forwarded-For: 1.1.1.1" "X-Forwarded-Proto: http" "Forwarded: for=2.2.2.2;proto=https"])
  (with [server (serve show :trusted-proxies ["127.0.0.1"] :forwarded-header :forwarded)]
    (t/same "2.2.2.2 - https" (seen server ;both))
    (t/check (itself? (seen server ;(slice both 0 2))) "no Forwarded"))
  (with [server (serve show :trusted-proxies ["127.0.0.1"] :forwarded-header :x-forwarded-for)]
    (t/same "1.1.1.1 - http" (seen server ;both))
    (t/check (itself? (seen server (last both))) "no X-Forwarded-For")))

(t/test "client: kept and pipelined requests each have their own"
  (with [server (serve show :trusted-proxies ["127.0.0.1"])]
    (with [c (h/client server)]
      (def [a b] (map |(h/request "GET" "/" [(string "X-Forwarded-For: " $)]) ["1.1.1.1" "2.2.2.2"]))
      (:write (c :conn) (string a b (h/request "GET" "/") a))
      (def bodies (seq [_ :range [0 4]] ((:receive c "GET") :body)))
      (t/same ["1.1.1.1 - http" "2.2.2.2 - http" "1.1.1.1 - http"] [(bodies 0) (bodies 1) (bodies 3)])
      (t/check (itself? (bodies 2)) (bodies 2)))))

(t/test "client: over a unix socket a proxy is trusted only as \"unix\""
  (def path (t/scratch "app.sock"))
  (each [options expected] [[[] "- - http"]
                            [[:trusted-proxies ["0.0.0.0/0" "::/0"]] "- - http"]
                            [[:trusted-proxies ["unix"]] "1.1.1.1 - https"]]
    (with [server (http/server show :unix path ;options)]
      (t/same expected (seen server "X-Forwarded-For: 1.1.1.1" "X-Forwarded-Proto: https") (string/format "%q" options)))))

(t/test "client: on a socket for IPv4 and IPv6, a peer is known by its IPv4 address"
  (def server (try (http/server show "::ffff:127.0.0.1" 0 :trusted-proxies ["127.0.0.1"])
                ([_] (t/skip "this system has no IPv4 addresses in IPv6 ones"))))
  (with [server server]
    (with [c (h/client (t/port server))]
      (t/check (itself? ((:ask c "GET" "/") :body)) "its address")
      (t/same "1.1.1.1 - http" ((:ask c "GET" "/" ["X-Forwarded-For: 1.1.1.1"]) :body)))))

(t/test "client: a copy of a request has it, a request of an ended connection has none"
  (var kept nil)
  (with [server (serve (fn [req] (set kept req) (show (merge req {:scheme (req :scheme)}))) :trusted-proxies ["loopback"])]
    (t/same "1.1.1.1 - https" (seen server "X-Forwarded-For: 1.1.1.1" "X-Forwarded-Proto: https"))
    (ended server)
    (t/same nil (http/client-address kept))
    (t/same nil (http/client-port kept))))

(t/test "client: what is not a request is refused"
  (each [name call] [["client-address" http/client-address] ["client-port" http/client-port]]
    (each [shown value] [["nil" nil] ["5" 5] [`"GET"` "GET"]]
      (t/same (string "kqnet/http/" name ": expected a request, got " shown) (t/raised |(call value))))))

(t/test "client: a request has its scheme even without proxies, and in :on-error"
  (def told @[])
  (with [server (serve (fn [req] (error "meant")) :trusted-proxies ["loopback"]
                       :on-error (fn [req _ _] (array/push told (show req)) {:status 503}))]
    (seen server "X-Forwarded-For: 1.1.1.1" "X-Forwarded-Proto: https")
    (t/same [{:body "1.1.1.1 - https"}] told))
  (with [server (serve (fn [req] {:body (string/format "%q %q" (in req :scheme) (get req :scheme))}))]
    (t/same `"http" "http"` (seen server))))

# The log.

(defn- logging
  [handler format]
  (def lines @[])
  [(http/logger handler :format format :out (fn [line] (array/push lines (string/trimr line "\n")))) lines])

(t/test "log: its lines show the client behind the proxy, also for requests that are refused"
  (each format [:common :combined :timed (fn [answer] (string (answer :remote) " "))]
    (def [logged lines] (logging show format))
    (with [server (serve logged :trusted-proxies ["loopback"] :max-body 5)]
      (seen server "X-Forwarded-For: 1.1.1.1")
      (seen server "X-Forwarded-For: unknown")
      (t/ask server "POST / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 2.2.2.2\r\nContent-Length: 9\r\n\r\n")
      (t/ask server "GARBAGE\r\n\r\n")
      (t/wait-until "four lines" |(= 4 (length lines)))
      (t/same ["1.1.1.1" "-" "2.2.2.2" "127.0.0.1"] (map |(first (string/split " " $)) lines)))))

# The PROXY protocol.

(def- get-page (h/request "GET" "/" ["Connection: close"]))

(defn- v2
  "A header of version 2."
  [command family & parts]
  (def after (string ;parts))
  (string "\r\n\r\n\0\r\nQUIT\n" (string/from-bytes command family (div (length after) 256) (% (length after) 256)) after))

(defn- field [kind value] (string (string/from-bytes kind 0 (length value)) value))

(def- v4 (string/from-bytes 192 0 2 1 10 0 0 1 0xDC 0x04 0x01 0xBB))

(defn- body-of [response] (last (string/split "\r\n\r\n" response)))

(t/test "proxy protocol: a header of either version names the client"
  (with [server (serve show :proxy-protocol true)]
    (each [expected header]
      [["192.0.2.1 56324 http" "PROXY TCP4 192.0.2.1 10.0.0.1 56324 443\r\n"]
       ["2001:db8::1 1 http" "PROXY TCP6 2001:db8::1 ::1 1 443\r\n"]
       ["192.0.2.1 56324 http" (v2 0x21 0x11 v4)]
       ["192.0.2.1 56324 https" (v2 0x21 0x11 v4 (field 0x01 "h2") (field 0x20 "\x01\0\0\0\0"))]
       ["192.0.2.1 56324 http" (v2 0x21 0x11 v4 (field 0x20 "\0\0\0\0\0") (field 0x04 (string/repeat "\0" 200)))]
       ["- - http" (v2 0x21 0x31 (string/repeat "\0" 216))]]
      (t/same expected (body-of (t/ask server (string header get-page))) (string/format "%q" header)))
    (each header ["PROXY UNKNOWN\r\n" "PROXY UNKNOWN ::1 ::1 1 1\r\n" (v2 0x20 0x00) (v2 0x20 0x11 v4) (v2 0x21 0x00)]
      (t/check (itself? (body-of (t/ask server (string header get-page)))) (string/format "%q" header)))))

(t/test "proxy protocol: a header may come in any pieces, and pipelined requests behind it"
  (with [server (serve show :proxy-protocol true)]
    (each header ["PROXY TCP4 192.0.2.1 10.0.0.1 56324 443\r\n" (v2 0x21 0x11 v4 (field 0x04 (string/repeat "x" 30)))]
      (def all (string header (h/request "GET" "/") get-page))
      (for cut 1 (+ 10 (length header))
        (with [conn (t/send server (string/slice all 0 cut))]
          (repeat 2 (ev/sleep 0))
          (:write conn (string/slice all cut))
          (t/same 2 (length (string/find-all "192.0.2.1 56324 http" (t/receive conn))) (string "cut after " cut))))
      (with [conn (t/connect server)]
        (each byte all (:write conn (string/from-bytes byte)) (ev/sleep 0))
        (t/same 2 (length (string/find-all "192.0.2.1 56324 http" (t/receive conn))) "one byte at a time")))))

(defn- refused
  "How many requests a server has refused, by the reason."
  [server]
  (def page (h/fetch server "GET" "/metrics"))
  (def counts @{})
  (each line (string/split "\n" (page :body))
    (when-let [[reason count] (peg/match '(* "kqnet_http_refused_total" (thru `reason="`) '(to `"`) (thru "} ") ':d+) line)]
      (update counts reason |(+ (or $ 0) (scan-number count)))))
  counts)

(t/test "proxy protocol: a connection without a valid header is refused, counted and logged, and nothing is on stderr"
  (def [logged lines] (logging show :common))
  (def traces @"")
  (with [server (with-dyns [:err traces] (serve logged :proxy-protocol true))]
    (def wrong
      [["no PROXY protocol header" get-page]
       ["no PROXY protocol header" "\x16\x03\x01\x02\x00"]
       ["malformed PROXY protocol header" (string "PROXY TCP4 1.1.1.1 1.1.1.1 1\r\n" get-page)]
       ["malformed PROXY protocol header" (v2 0x22 0x11 v4)]
       ["PROXY protocol header is too large" (v2 0x21 0x00 (string/repeat "x" 5000))]
       ["PROXY protocol header is too large" (string "PROXY UNKNOWN " (string/repeat "x" 200))]])
    (def expected @{})
    (each [reason text] wrong
      (update expected reason |(inc (or $ 0)))
      (def response (t/ask server text))
      (t/check (string/has-prefix? "HTTP/1.1 400 " response) response)
      (t/same (string reason "\n") (body-of response)))
    # A header belongs to the connection, and so the second one is a part of a request.
    (def twice (t/ask server (string "PROXY UNKNOWN\r\nPROXY UNKNOWN\r\n" get-page)))
    (t/check (string/has-prefix? "HTTP/1.1 400 " twice) twice)
    (ended server)
    (t/wait-until "the log" |(= 7 (length lines)))
    (t/check (all |(string/find `" 400 ` $) lines) (string/join lines "\n"))
    (with [other (serve (http/metrics show))]
      (eachp [reason count] expected
        (t/same count ((refused other) reason) reason)))
    (t/same "" (string traces))))

(t/test "proxy protocol: with :trusted-proxies, only they may connect, and headers are believed if the client is one of them"
  (with [server (serve show :proxy-protocol true :trusted-proxies ["10.0.0.0/8"])]
    (def response (t/ask server (string "PROXY TCP4 10.0.0.1 10.0.0.2 1 1\r\n" get-page)))
    (t/check (string/has-prefix? "HTTP/1.1 403 " response) response)
    (t/same "PROXY protocol from an address that is not trusted\n" (body-of response)))
  (with [server (serve show :proxy-protocol true :trusted-proxies ["127.0.0.1"])]
    (defn ask [from & headers]
      (body-of (t/ask server (string "PROXY TCP4 " from " 127.0.0.1 1 1\r\n" (h/request "GET" "/" ["Connection: close" ;headers])))))
    (t/same "1.1.1.1 1 http" (ask "1.1.1.1" "X-Forwarded-For: 2.2.2.2" "X-Forwarded-Proto: https"))
    (t/same "2.2.2.2 - https" (ask "127.0.0.1" "X-Forwarded-For: 2.2.2.2" "X-Forwarded-Proto: https"))))

(t/test "proxy protocol: the head's timeout is for the header too, and a silent client costs nothing but that"
  (with [server (serve show :proxy-protocol true :head-timeout 0.05)]
    (t/check (string/has-prefix? "HTTP/1.1 408 " (t/ask server "PROXY TCP4 1.1.1.1 ")) "408")
    (t/check (string/has-prefix? "HTTP/1.1 408 " (t/ask server (string (v2 0x21 0x11 v4) "GET /"))) "408 to the request")
    (t/same "" (t/ask server ""))
    (ended server))
  # A proxy may connect before it has a request.
  (with [server (serve show :proxy-protocol true :idle-timeout 0.05)]
    (t/same "" (t/ask server "PROXY UNKNOWN\r\n"))
    (ended server)))

(t/test "proxy protocol: a client that leaves in its header is reported nowhere, and a drain does not wait for one"
  (def [logged lines] (logging show :common))
  (def traces @"")
  (def server (with-dyns [:err traces] (serve logged :proxy-protocol true)))
  (each text ["" "PROXY" (string/slice (v2 0x21 0x11 v4) 0 20)]
    (:close (t/send server text)))
  (with [silent (t/connect server)]
    (t/wait-until "all" |(= 4 ((kqnet/stats server) :accepted)))
    (t/wait-until "the three" |(= 1 ((kqnet/stats server) :active)))
    (t/same 0 (kqnet/drain server 1000)))
  (t/same [] lines)
  (t/same "" (string traces)))

# Other programs than HTTP servers.

(defn- told
  "What `kqnet/proxy-header` returns or raises for a connection that sends these texts."
  [options & texts]
  (def results (ev/chan 1))
  (with [server (kqnet/server host 0 (fn [conn]
                                       (with [conn conn]
                                         (def result (protect (kqnet/proxy-header conn ;options)))
                                         (ev/give results [;result (string (or (if (first result) (:read conn 100)) ""))]))))]
    (with [conn (t/connect server)]
      # The server may be done before it has all of it.
      (protect
        (each text texts
          (:write conn text)
          (repeat 3 (ev/sleep 0)))
        (net/shutdown conn :w))
      (ev/take results))))

(t/test "proxy-header: reads the header and nothing behind it, whatever its pieces"
  (each [client header] [[["192.0.2.1" 56324] "PROXY TCP4 192.0.2.1 10.0.0.1 56324 443\r\n"]
                         [["2001:db8::1" 1] "PROXY TCP6 2001:db8::1 ::1 1 443\r\n"]
                         [nil "PROXY UNKNOWN\r\n"]
                         [["192.0.2.1" 56324] (v2 0x21 0x11 v4)]
                         [nil (v2 0x21 0x00)]]
    (def all (string header "hello"))
    (each pieces [[all] [header "hello"] [(string/slice all 0 5) (string/slice all 5)] (map string/from-bytes all)]
      (def [ok? result next] (told [] ;pieces))
      (t/check ok? result)
      (t/same client (result :client))
      (t/check (string/has-prefix? next "hello") next)
      (t/check (not (empty? next)) "what is behind it"))))

(t/test "proxy-header: says what the proxy says"
  (defn result [header] (get (told [] header) 1))
  (t/same {:client ["192.0.2.1" 56324] :server ["10.0.0.1" 443] :local false :tls true}
          (result (v2 0x21 0x11 v4 (field 0x20 "\x01\0\0\0\0"))))
  (t/same {:local true :tls false} (result (v2 0x20 0x00)))
  (t/same {:client ["/a"] :server [""] :local false :tls false}
          (result (v2 0x21 0x31 "/a" (string/repeat "\0" 214)))))

(t/test "proxy-header: raises an error for anything else"
  (defn raised [options & texts]
    (def [ok? err] (told options ;texts))
    (t/same false ok?)
    err)
  (t/same "kqnet/proxy-header: no PROXY protocol header" (raised [] "GET / HTTP/1.1\r\n\r\n"))
  (t/same "kqnet/proxy-header: malformed PROXY protocol header" (raised [] "PROXY TCP4 \r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n"))
  (t/same "kqnet/proxy-header: the connection ended within the header" (raised [] "PROXY TCP4 1.1.1.1"))
  (t/same "kqnet/proxy-header: the connection ended within the header" (raised []))
  (t/same "kqnet/proxy-header: the peer is not a trusted proxy" (raised [:trusted-proxies ["10.0.0.0/8"]] "PROXY UNKNOWN\r\n"))
  (t/check (first (told [:trusted-proxies ["loopback"]] "PROXY UNKNOWN\r\n")) "a trusted one")
  (def results (ev/chan 1))
  (with [server (kqnet/server host 0 (fn [conn]
                                       (with [conn conn]
                                         (ev/give results (protect (kqnet/proxy-header conn :timeout 0.05))))))]
    (with [conn (t/send server "PROXY TCP4 1.1.1.1 ")]
      (t/same [false "kqnet/proxy-header: the header did not arrive in time"] (ev/take results)))))

# Options.

(t/test "wrong options are refused, with the option and its value"
  (def proxies `a list of addresses, of blocks such as "10.0.0.0/8", and of "loopback", "private" and "unix"`)
  (each [name what & values]
    [[:trusted-proxies proxies "loopback" ["10.0.0.0/33"] ["localhost"] [:unix] ["::1%lo"] ["10.0.0.1" nil] 5]
     [:proxy-protocol "true or false" "v2" 1]
     [:cancel-when-gone "true, false or :or-ended" "yes" :ended]]
    (each value values
      (t/same (string/format "kqnet/http/server: %q must be %s, got %q" name what value) (t/raised |(serve show name value)))))
  (t/same "kqnet/http/server: :forwarded-header must be :x-forwarded-for or :forwarded, got :x-real-ip"
          (t/raised |(serve show :trusted-proxies [] :forwarded-header :x-real-ip)))
  (t/same "kqnet/http/server: :forwarded-header has no effect without :trusted-proxies"
          (t/raised |(serve show :forwarded-header :forwarded)))
  (t/same "kqnet/proxy-header: :timeout must be a number of seconds from 0 to 1e9, or math/inf, got -1"
          (t/raised |(kqnet/proxy-header nil :timeout -1)))
  (each value [nil 5 "stream"]
    (def err (t/raised |(kqnet/proxy-header value)))
    (t/check (string/has-prefix? "kqnet/proxy-header: expected a core/stream" err) err)))

# nginx and HAProxy themselves.

(defn- start-proxy
  "Starts a proxy with the configuration that `config` makes for a port. Returns the port."
  [config & command]
  (def file (t/scratch "proxy.conf"))
  (defer (protect (os/rm file))
    (var result nil)
    # They cannot choose a free port, and another process may have taken this one meanwhile.
    (repeat 5
      (when result (break))
      (def port (t/free-port))
      (spit file (config port))
      (def proxy (t/start ;command file))
      (def ready
        (t/wait-until (string (first command) " listens")
                      |(or (first (protect (:close (t/connect port)))) (if (proxy :status) :ended))))
      (if (= ready :ended) (print (proxy :err)) (set result port)))
    (t/check result (string (first command) " has started"))))

(defn- nginx
  [config]
  (def [program] (programs/need "nginx"))
  (start-proxy |(string "daemon off; master_process off; pid /dev/null; error_log stderr;\n" (config $)) program "-e" "stderr" "-c"))

(defn- haproxy
  [config]
  (def [program] (programs/need "haproxy"))
  (start-proxy |(string "defaults\n timeout connect 5s\n timeout client 60s\n timeout server 60s\n" (config $)) program "-db" "-f"))

(defn- behind
  "What a server says about a client that asks a proxy."
  [port & headers]
  ((h/fetch port "GET" "/" headers) :body))

(t/test "nginx: the client is known by X-Forwarded-For, whatever it sends itself"
  (programs/need "nginx")
  (with [server (serve show :trusted-proxies ["loopback"])]
    (def port
      (nginx |(string "events {}\nhttp {\naccess_log off;\n"
                      ;(map (fn [name] (string name "_temp_path /tmp;\n")) ["client_body" "proxy" "fastcgi" "uwsgi" "scgi"])
                      "server {\nlisten 127.0.0.1:" $ ";\nlocation / {\nproxy_pass http://127.0.0.1:" (t/port server) ";\n"
                      "proxy_set_header X-Forwarded-For 192.0.2.7;\nproxy_set_header X-Forwarded-Proto https;\n}\n}\n}\n")))
    (each headers [[] ["X-Forwarded-For: 1.1.1.1"] ["Forwarded: for=1.1.1.1;proto=http"]]
      (t/same "192.0.2.7 - https" (behind port ;headers)))))

(t/test "nginx: the client is known by the PROXY protocol of a stream proxy"
  (programs/need "nginx")
  (def module "/usr/lib/nginx/modules/ngx_stream_module.so")
  (unless (os/stat module) (t/skip "nginx has no stream module"))
  (with [server (serve show :proxy-protocol true :trusted-proxies ["loopback"])]
    (def port
      (nginx |(string "load_module " module ";\nevents {}\nstream {\nserver {\nlisten 127.0.0.1:" $ ";\n"
                      "proxy_pass 127.0.0.1:" (t/port server) ";\nproxy_protocol on;\n}\n}\n")))
    (with [c (h/client port)]
      (def [_ own-port] (net/localname (c :conn)))
      (repeat 2 (t/same (string "127.0.0.1 " own-port " http") ((:ask c "GET" "/") :body))))))

(each [name option] [["version 1" "send-proxy"] ["version 2" "send-proxy-v2"] ["version 2 with fields" "send-proxy-v2-ssl-cn"]]
  (t/test (string "HAProxy: the client is known by " name " of the PROXY protocol")
    (programs/need "haproxy")
    (each mode ["http" "tcp"]
      (with [server (serve show :proxy-protocol true)]
        (def port
          (haproxy |(string "listen l\n mode " mode "\n bind 127.0.0.1:" $ "\n server s 127.0.0.1:" (t/port server) " " option "\n")))
        (with [c (h/client port)]
          (def [_ own-port] (net/localname (c :conn)))
          (repeat 2 (t/same (string "127.0.0.1 " own-port " http") ((:ask c "GET" "/") :body) mode)))))))

(t/test "HAProxy: a client with TLS is known by the PROXY protocol, and by X-Forwarded-Proto"
  (def [openssl curl] (programs/need "openssl" "curl" "haproxy"))
  (def pem (t/scratch "haproxy.pem"))
  (def [status output]
    (programs/run "sh" "-c" (string `exec "$0" req -x509 -newkey rsa:2048 -nodes -subj /CN=localhost -keyout "$1" -out "$1.crt" 2>&1`) openssl pem))
  (t/same 0 status output)
  (spit pem (string (slurp pem) (slurp (string pem ".crt"))))
  (os/rm (string pem ".crt"))
  (defer (os/rm pem)
    (each [expected options lines] [["127.0.0.1 https" [:proxy-protocol true] ["" " send-proxy-v2-ssl"]]
                                    ["127.0.0.1 https" [:trusted-proxies ["loopback"]]
                                     [" http-request set-header X-Forwarded-For %[src]\n http-request set-header X-Forwarded-Proto %[ssl_fc,iif(https,http)]\n" ""]]]
      (with [server (serve (fn [req] {:body (string (http/client-address req) " " (req :scheme))}) ;options)]
        (def port
          (haproxy |(string "listen l\n mode http\n bind 127.0.0.1:" $ " ssl crt " pem "\n" (lines 0)
                            " server s 127.0.0.1:" (t/port server) (lines 1) "\n")))
        (def [status output] (programs/run curl "-sk" (string "https://127.0.0.1:" port "/")))
        (t/same [0 expected] [status output])))))

(t/test "HAProxy: health checks with a LOCAL header are answered as requests of HAProxy itself"
  (programs/need "haproxy")
  (def clients @[])
  (with [server (serve (fn [req] (array/push clients [(req :path) (http/client-address req)]) {:body "hello"}) :proxy-protocol true)]
    (haproxy |(string "listen l\n mode http\n bind 127.0.0.1:" $ "\n option httpchk GET /check\n"
                      " server s 127.0.0.1:" (t/port server) " check inter 50ms send-proxy-v2\n"))
    # HAProxy gives a check up after 50 ms, and on a busy machine its address may be gone by then.
    (t/wait-until "two checks with an address" |(>= (count |(= ["/check" "127.0.0.1"] $) clients) 2))
    (t/same [] (filter |(not (or (= ["/check" "127.0.0.1"] $) (= ["/check" nil] $))) clients))))

(t/finish)
