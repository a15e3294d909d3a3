###
### kqnet/websocket with a client that sends raw frames, and with handlers of all kinds.
###

(import ./support :as t)
(import ./support/http :as h)
(import ./support/websocket :as w)
(t/need-spork)
(import kqnet)
(import kqnet/http)
(import kqnet/websocket)

(def- host "127.0.0.1")

(defn- echo [ws]
  (while (def message (:read ws))
    (:write ws message)))

(defn- raised
  "What the handlers of a server raised, and were not caught by it."
  [errors]
  (fn [req err fib] (array/push errors err) nil))

(defmacro- with-server
  "Runs a body with a server whose handler makes WebSockets. `errors` are those that went to the server's :on-error."
  [[server errors handler & options] & body]
  (with-syms [$handler]
    ~(let [,errors @[]
           ,$handler ,handler]
       (with [,server (,http/server (fn [req] (,websocket/upgrade req ,$handler ,;options)) ,host 0
                                    :on-error (,raised ,errors))]
         ,;body))))

(defn- active [server] ((kqnet/stats server) :active))

(defn- all-ended [server]
  (t/wait-until "the ends of all handlers" |(zero? (active server))))

(defn- answer-to
  "Sends frames to an echo server, and returns the next frame that comes back and is not a pong."
  [server & frames]
  (with [c (w/connect server)]
    (:send c ;frames)
    (var frame (:receive c))
    (while (= :pong (first frame)) (set frame (:receive c)))
    (:send c (w/frame :close (w/close-payload 1000 "enough")))
    (t/same [1000 "enough"] (:closed c))
    frame))

(defn- refusal-of
  "Sends frames, and returns the code and reason of the Close frame that is the only answer."
  [server & frames]
  (with [c (w/connect server)]
    (:send c ;frames)
    (:closed c)))

###
### Messages
###

(t/test "text and binary come back as they were, whatever their length"
  (with-server [server errors echo]
    (with [c (w/connect server)]
      (each size [0 1 2 125 126 127 1000 65535 65536 70000 1048576]
        (each opcode [:text :binary]
          (def payload (string/repeat "x" size))
          (:send c (w/frame opcode payload))
          (def [got back] (:receive c))
          (t/same opcode got)
          (t/check (= payload back) (string size " bytes"))))
      (def bytes (string/from-bytes ;(range 256)))
      (t/same [:binary bytes] (answer-to server (w/frame :binary bytes))))
    (all-ended server)
    (t/same [] errors)))

(t/test "a handler gets text as a string and binary as a buffer"
  (def got @[])
  (with-server [server errors (fn [ws] (while (def m (:read ws)) (array/push got m)))]
    (with [c (w/connect server)]
      (:send c (w/frame :text "text") (w/frame :binary "binary") (w/frame :text "") (w/frame :close))
      (t/same [] (:closed c))))
  (t/same ["text" @"binary" ""] got))

(t/test "a message in two fragments comes back whole, wherever it is cut"
  (with-server [server errors echo]
    (def text "aé€😀z")
    (with [c (w/connect server)]
      (for cut 0 (inc (length text))
        (:send c (w/frame :text (string/slice text 0 cut) :more true)
               (w/frame :continuation (string/slice text cut)))
        (t/same [:text text] (:receive c))))))

(t/test "a message in many fragments, with control frames between all of them, comes back whole"
  (with-server [server errors echo]
    (def text "fragments")
    (def frames
      (seq [i :range [0 (length text)]
            part :in [(w/frame (if (zero? i) :text :continuation) (string/slice text i (inc i)) :more true)
                      (w/frame :pong (string i))
                      (w/frame :continuation "" :more true)]]
        part))
    (t/same [:text text] (answer-to server ;frames (w/frame :continuation)))
    (with [c (w/connect server)]
      (:send c (w/frame :text "a" :more true))
      (each ping ["" "1" (string/repeat "p" 125)]
        (:send c (w/frame :ping ping))
        (t/same [:pong ping] (:receive c)))
      (:send c (w/frame :continuation "b"))
      (t/same [:text "ab"] (:receive c)))))

(t/test "frames that arrive byte by byte are the same"
  (with-server [server errors echo]
    (with [c (w/connect server)]
      (each byte (string (w/frame :text "he" :more true) (w/frame :ping "?") (w/frame :continuation "llo")
                         (w/frame :binary (string/repeat "b" 200)))
        (:send c (string/from-bytes byte))
        (ev/sleep 0))
      (t/same [:pong "?"] (:receive c))
      (t/same [:text "hello"] (:receive c))
      (t/same [:binary (string/repeat "b" 200)] (:receive c)))))

(t/test "frames that come together with the handshake are not lost"
  (with-server [server errors echo]
    (with [c (h/client server)]
      (:write (c :conn) (string (h/request "GET" "/" w/handshake) (w/frame :text "early") (w/frame :text "later" :more true)))
      (t/same 101 ((:head c) :status))
      (def ws (w/over (c :conn) (c :buf)))
      (t/same [:text "early"] (:receive ws))
      (:send ws (w/frame :continuation))
      (t/same [:text "later"] (:receive ws)))))

(t/test "many messages at once are all answered, in their order"
  (with-server [server errors echo]
    (with [c (w/connect server)]
      (def count 5000)
      (def sender (t/background (fn [] (:send c ;(seq [i :range [0 count]] (w/frame :text (string i)))))))
      (for i 0 count (t/same [:text (string i)] (:receive c)))
      (t/same [true c] (ev/take sender)))))

(t/test "text is sent from a buffer, and binary from a string, if the kind is given"
  (with-server [server errors (fn [ws]
                                (:write ws @"{}" :text)
                                (:write ws "\xff" :binary))]
    (with [c (w/connect server)]
      (t/same [:text "{}"] (:receive c))
      (t/same [:binary "\xff"] (:receive c)))))

(t/test "wrong messages are refused, and the WebSocket goes on"
  (def got @[])
  (with-server [server errors (fn [ws]
                                (each [message kind] [["\xff"] [@"\xc3(" :text] [1] [:key] [nil] ["x" :other]]
                                  (array/push got (t/raised |(:write ws message kind))))
                                (array/push got (t/raised |(:ping ws (string/repeat "p" 126))))
                                (each code [999 1004 1005 1006 1015 2999 5000 "x"]
                                  (t/check (string/has-prefix? "the code of a Close frame" (t/raised |(:close ws code))) code))
                                (array/push got (t/raised |(:close ws 1000 (string/repeat "r" 124))))
                                (:write ws "done"))]
    (with [c (w/connect server)]
      (t/same [:text "done"] (:receive c))))
  (t/same [`text must be UTF-8, but byte 0 of "\xFF" is not; send a buffer, or :binary`
           `text must be UTF-8, but byte 0 of @"\xC3(" is not; send a buffer, or :binary`
           "a message must be a string (text) or a buffer (binary), got 1"
           "a message must be a string (text) or a buffer (binary), got :key"
           "a message must be a string (text) or a buffer (binary), got nil"
           "the kind of a message is :text or :binary, not :other"]
          (take 6 got))
  (t/check (string/has-prefix? "a ping has at most 125 bytes, got " (got 6)) (got 6))
  (t/check (string/has-prefix? "the reason in a Close frame is UTF-8 of at most 123 bytes, got " (got 7)) (got 7)))

###
### What clients may not do
###

(t/test "each frame that the protocol forbids is answered with 1002, or 1007 or 1009, and the reason"
  (with-server [server errors echo :max-message 1000]
    (each [code reason & frames]
      [[1002 "a frame is not masked" (w/frame :text "x" :unmasked true)]
       ;(seq [bits :range [1 8]] [1002 "a reserved bit is set" (w/frame :text "x" :reserved bits)])
       ;(seq [opcode :in [3 4 5 6 7 11 12 13 14 15]] [1002 "a frame has an unknown opcode" (w/frame opcode "x")])
       ;(seq [opcode :in [:close :ping :pong]] [1002 "a control frame is fragmented" (w/frame opcode "" :more true)])
       ;(seq [opcode :in [:close :ping :pong]]
          [1002 "a control frame is too long" (w/frame opcode (string/repeat "x" 126))])
       [1002 "a continuation has no message to go on" (w/frame :continuation "x")]
       [1002 "a message begins before the last one has ended" (w/frame :text "x" :more true) (w/frame :text "y")]
       [1002 "a length is not in its shortest form" (w/frame :text "x" :width 2)]
       [1002 "a length is not in its shortest form" (w/frame :text "x" :width 8)]
       [1002 "the highest bit of a length is set" "\x81\xff\x80\0\0\0\0\0\0\0"]
       [1002 "a Close frame has half a code" (w/frame :close "\x03")]
       ;(seq [wrong :in [0 999 1004 1005 1006 1015 1016 2999 5000 65535]]
          [1002 "a Close frame has a code that may not be sent" (w/frame :close (w/close-payload wrong))])
       [1007 "text is not UTF-8" (w/frame :close (w/close-payload 1000 "\xff"))]
       [1009 "message is too large" (w/frame :text (string/repeat "x" 1001))]
       [1009 "message is too large" (w/frame :text (string/repeat "x" 1000) :more true) (w/frame :continuation "x")]
       # Only the head of it arrives.
       [1009 "message is too large" (string/slice (w/frame :binary "" :size 4294967296 :width 8) 0 14)]]
      (t/same [code reason] (refusal-of server ;frames) (string/format "%q" frames)))
    (all-ended server)
    (t/same [] errors "no error of the program")))

(t/test "text is refused at its first wrong byte, wherever that is"
  (with-server [server errors echo]
    (def start "aé€😀")
    (each at (seq [i :range [0 (inc (length start))]
                   # At the start of a character.
                   :unless (= 0x80 (band 0xc0 (get start i 0)))]
               i)
      (each bad ["\x80" "\xc0" "\xf5" "\xff" "\xc3(" "\xe0\x80" "\xed\xa0" "\xf4\x90"]
        (def payload (string (string/slice start 0 at) bad))
        # More is announced, and never comes.
        (t/same [1007 "text is not UTF-8"]
                (refusal-of server (string/slice (w/frame :text (string payload "more")) 0 -5))
                payload)))
    (t/same [1007 "text is not UTF-8"] (refusal-of server (w/frame :text "\xf0\x9f\x98")) "an incomplete end")))

(t/test "a client that goes on sending after a refusal still gets the code"
  (with-server [server errors echo :max-message 1000]
    (with [c (w/connect server)]
      # Much more than the buffers of the system have.
      (def sending (t/background |(:send c (w/frame :binary (string/repeat "x" 100) :size 20000000 :width 8)
                                         (string/repeat "x" 10000000))))
      (t/same [1009 "message is too large"] (:closed c)))
    (all-ended server)))

###
### The handshake
###

(defn- handshake-with
  "The headers of a handshake, with one of them replaced or removed."
  [name &opt value]
  [;(filter |(not (string/has-prefix? (string name ":") $)) w/handshake) ;(if value [(string name ": " value)] [])])

(defn- refused
  [server headers &opt method body]
  (def response (h/fetch server (or method "GET") "/" headers body))
  [(response :status) (string/trim (response :body)) (get-in response [:headers "sec-websocket-version"])])

(t/test "what is not a handshake gets a status that says why"
  (with-server [server errors echo]
    (def needs "this is for WebSockets: the request needs the headers Upgrade: websocket and Connection: Upgrade")
    (with [c (h/client server)]
      (def response (:ask c "GET" "/"))
      (t/same [426 "websocket" "Upgrade"]
              [(response :status) (get-in response [:headers "upgrade"]) (get-in response [:headers "connection"])])
      # The connection is kept.
      (t/same 426 ((:ask c "GET" "/" (handshake-with "Upgrade" "h2c")) :status))
      (t/same 426 ((:ask c "GET" "/" (handshake-with "Connection" "keep-alive")) :status))
      (:send c "GET" "/" [;w/handshake])
      (t/same 101 ((:head c) :status)))
    (def plain |(with [c (h/client server)]
                  (def response (:ask c ;$))
                  [(response :status) (string/trim (response :body)) (get-in response [:headers "sec-websocket-version"])]))
    (t/same [426 needs nil] (plain ["GET" "/"]))
    (t/same [426 "Sec-WebSocket-Version must be 13" "13"] (plain ["GET" "/" (handshake-with "Sec-WebSocket-Version" "8")]))
    (t/same [426 "Sec-WebSocket-Version must be 13" "13"] (plain ["GET" "/" (handshake-with "Sec-WebSocket-Version")]))
    (def wrong-key [400 "Sec-WebSocket-Key must be 16 bytes in base64" nil])
    (t/same wrong-key (plain ["GET" "/" (handshake-with "Sec-WebSocket-Key")]))
    (t/same wrong-key (plain ["GET" "/" (handshake-with "Sec-WebSocket-Key" "short")]))
    (t/same [405 "a WebSocket begins with GET" nil] (plain ["POST" "/" w/handshake]))
    (t/same [400 "the request of a WebSocket has no body" nil] (plain ["GET" "/" w/handshake "body"]))
    (t/same [] errors)))

(t/test "names in the handshake may be in any case and among others"
  (with-server [server errors echo]
    (with [c (h/client server)]
      (:send c "GET" "/" ["upgrade: h2c, WebSocket" "connection: keep-alive, UPGRADE" "sec-websocket-version: 13"
                          "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ=="])
      (t/same 101 ((:head c) :status)))))

(t/test "a subprotocol is chosen by the server's preference, or none"
  (with-server [server errors (fn [ws] (:write ws (string (ws :protocol)))) :protocols ["chat" "other"]]
    (each [offered chosen] [["chat" "chat"] ["other, chat" "chat"] ["unknown,other" "other"] ["unknown" nil] [nil nil]
                            ["Chat" nil]]
      (with [c (w/connect server "/" (if offered [(string "Sec-WebSocket-Protocol: " offered)] []))]
        (t/same chosen (get-in c [:headers "sec-websocket-protocol"]) offered)
        (t/same [:text (string chosen)] (:receive c))))
    (with [c (w/connect server "/" ["Sec-WebSocket-Protocol: a" "Sec-WebSocket-Protocol: other"])]
      (t/same "other" (get-in c [:headers "sec-websocket-protocol"])))))

(defn- status-for
  "The status that a page of this origin gets."
  [server origin &opt host]
  (with [conn (t/connect server)]
    (:write conn (string "GET / HTTP/1.1\r\nHost: " (or host "example.org") "\r\n"
                         (string/join w/handshake "\r\n")
                         (if origin (string "\r\nOrigin: " origin) "") "\r\n\r\n"))
    (def head @"")
    (while (not (string/find "\r\n" head)) (:read conn 1000 head))
    (scan-number (string/slice head 9 12))))

(t/test "only pages of the same host and port may connect by default"
  (with-server [server errors echo]
    (each [origin host status]
      [[nil nil 101]
       ["http://example.org" nil 101]
       ["https://example.org" nil 101]
       ["HTTP://Example.ORG" nil 101]
       ["https://example.org:443" nil 101]
       ["https://example.org" "example.org:443" 101]
       ["http://example.org:8000" "example.org:8000" 101]
       ["http://[::1]:8000" "[::1]:8000" 101]
       ["https://evil.example" nil 403]
       ["https://example.org.evil.example" nil 403]
       ["https://evil.example/example.org" nil 403]
       ["http://example.org:8000" nil 403]
       ["http://example.org" "example.org:8000" 403]
       ["https://example.org:80" nil 403]
       ["http://example.org@evil.example" nil 403]
       ["null" nil 403]
       ["example.org" nil 403]
       ["" nil 403]]
      (t/same status (status-for server origin host) (string/format "%q %q" origin host)))
    (t/same [] errors)))

(t/test ":origins names the origins, or all, or decides by a function"
  (with-server [server errors echo :origins ["https://a.example" "https://b.example:8443"]]
    (each [origin status] [[nil 101] ["https://a.example" 101] ["HTTPS://A.example" 101] ["https://b.example:8443" 101]
                           ["http://a.example" 403] ["http://example.org" 403] ["null" 403]]
      (t/same status (status-for server origin) origin)))
  (with-server [server errors echo :origins :any]
    (each origin [nil "https://a.example" "null"] (t/same 101 (status-for server origin) origin)))
  (with-server [server errors echo :origins (fn [origin req] (and origin (= (req :method) "GET")))]
    (t/same 101 (status-for server "x"))
    (t/same 403 (status-for server nil))))

(t/test "wrong arguments are refused at once"
  (def errors @[])
  (def tries
    [[:no-such 1] [:max-message 0] [:max-message "x"] [:protocols "chat"] [:protocols ["a b"]] [:protocols []]
     [:origins "https://a.example"] [:origins ["a.example"]] [:origins ["https://a.example/"]] [:ping -1] [:ping]])
  (with [server (http/server (fn [req]
                               (each options tries
                                 (array/push errors (t/raised |(websocket/upgrade req echo ;options))))
                               (array/push errors (t/raised |(websocket/upgrade req (fn [] nil))))
                               (array/push errors (t/raised |(websocket/upgrade req nil)))
                               (array/push errors (t/raised |(websocket/upgrade nil echo)))
                               {:status 200})
                             host 0)]
    (t/same 200 ((h/fetch server "GET" "/") :status)))
  (t/same (string "kqnet/websocket/upgrade: unknown option :no-such; the options are :protocols, :origins, :max-message, "
                  ":max-queued, :max-unread, :ping, :pong-timeout, :close-timeout")
          (first errors))
  (each err errors
    (t/check (and (string? err) (string/has-prefix? "kqnet/websocket/upgrade: " err)) (string/format "%q" err)))
  (t/same "kqnet/websocket/upgrade: WebSockets need a request of kqnet/http/server whose handler has not ended"
          (t/raised |(websocket/upgrade {:headers {} :method "GET"} echo))))

###
### Closing
###

(t/test "the client closes: its code and reason come back, and the handler reads nil and sees them"
  (each [payload code reason]
    [["" 1005 ""]
     [(w/close-payload 1000) 1000 ""]
     [(w/close-payload 3999 "bye é") 3999 "bye é"]]
    (def seen @[])
    (with-server [server errors (fn [ws]
                                  (t/same nil (:read ws))
                                  (t/same nil (:read ws))
                                  (array/push seen (ws :close-code) (ws :close-reason)))]
      (with [c (w/connect server)]
        (:send c (w/frame :close payload) (w/frame :text "ignored"))
        (t/same (if (empty? payload) [] [code reason]) (:closed c)))
      (all-ended server)
      (t/same [] errors))
    (t/same [code reason] seen)))

(t/test "the handler closes: the client gets code and reason, and what it sends meanwhile is dropped"
  (def seen @[])
  (with-server [server errors (fn [ws]
                                (:close ws 4000 "enough")
                                (:close ws 4001 "ignored")
                                (array/push seen (:read ws) (ws :close-code) (t/raised |(:write ws "late"))))]
    (with [c (w/connect server)]
      (t/same [:close (w/close-payload 4000 "enough")] (:receive c))
      (:send c (w/frame :text "late") (w/frame :ping "late") (w/frame :close (w/close-payload 4000)))
      (t/same nil (:receive c)))
    (all-ended server)
    (t/same [nil 4000 [:kqnet/gone "the WebSocket is closed"]] seen)))

(t/test "a handler that returns closes with 1000 and waits for the client"
  (with-server [server errors (fn [ws] (:write ws "only this"))]
    (with [c (w/connect server)]
      (t/same [:text "only this"] (:receive c))
      (t/same [:close (w/close-payload 1000)] (:receive c))
      (t/same 1 (active server))
      (:send c (w/frame :close (w/close-payload 1000)))
      (t/same nil (:receive c)))
    (all-ended server)))

(t/test "both sides close at the same time"
  (def go (ev/chan))
  (with-server [server errors (fn [ws] (ev/take go))]
    (with [c (w/connect server)]
      (:send c (w/frame :close (w/close-payload 1001)))
      (ev/give go true)
      (def [opcode payload] (:receive c))
      (t/same :close opcode)
      (t/same nil (:receive c)))
    (all-ended server)
    (t/same [] errors)))

(t/test "a client that does not answer a Close frame is given up after the :close-timeout"
  (with-server [server errors (fn [ws] (:close ws) (:read ws)) :close-timeout 0.1]
    (with [c (w/connect server)]
      (t/same [:close (w/close-payload 1000)] (:receive c))
      (t/same nil (:receive c)))
    (all-ended server)))

(t/test "a client that never ends the connection after the handshake is over is given up too"
  (with-server [server errors echo :close-timeout 0.1]
    (with [c (w/connect server)]
      (:send c (w/frame :close))
      (all-ended server)
      (t/same [] (:closed c)))))

(t/test "a client that leaves without a Close frame: the handler reads nil, and a write raises"
  (def seen @[])
  (with-server [server errors (fn [ws]
                                (array/push seen (:read ws) (:read ws) (ws :close-code))
                                (:write ws "nobody reads this"))]
    (with [c (w/connect server)]
      (:send c (w/frame :text "half" :more true)))
    (all-ended server)
    (t/same [nil nil 1006] seen)
    (t/same [] errors "that the client is gone is not an error of the program")))

(t/test "a handler that only writes ends when the client has left"
  (with-server [server errors (fn [ws] (forever (:write ws (string/repeat "x" 10000)) (ev/sleep 0)))]
    (with [c (w/connect server)]
      (:receive c))
    (all-ended server)
    (t/same [] errors)))

(t/test "a client that closes while the handler writes gets its answer after what was queued"
  (with-server [server errors (fn [ws]
                                (forever (:write ws (string/repeat "x" 100000))))]
    (with [c (w/connect server)]
      (:receive c)
      (:send c (w/frame :close (w/close-payload 1000 "stop")))
      (var frame (:receive c))
      (while (= :text (first frame)) (set frame (:receive c)))
      (t/same [:close (w/close-payload 1000 "stop")] frame)
      (t/same nil (:receive c)))
    (all-ended server)
    (t/same [] errors)))

(t/test "an error of the handler closes with 1011, and is the program's"
  (with-server [server errors (fn [ws] (:read ws) (error "meant to be raised")) :close-timeout 0.1]
    (with [c (w/connect server)]
      (:send c (w/frame :text "x"))
      (t/same [1011 ""] (:closed c)))
    (all-ended server)
    (t/same ["meant to be raised"] errors)))

(t/test "an error of the handler is one message on stderr, and what clients do wrong is none"
  (def program
    '[(import kqnet/http)
      (import kqnet/websocket)
      (defn handler [ws] (case (:read ws) "raise" (error "meant to be raised")))
      (def server (http/server (fn [req] (websocket/upgrade req handler :close-timeout 0.1)) "127.0.0.1" 0))
      (print (last (net/localname server)))
      (flush)])
  (with [process (t/start-forms program)]
    (def port (:port process))
    (each frame [(w/frame :text "raise") (w/frame :text "\xff") (w/frame :text "x" :unmasked true) (w/frame :close)]
      (with [c (w/connect port)]
        (:send c frame)
        (:closed c)))
    (with [c (w/connect port)])
    (def lines |(string/split "\n" (process :err)))
    (t/wait-until "the message" |(> (length (lines)) 1))
    (t/same "kqnet/http: GET /: error: meant to be raised" (first (lines)))
    (t/same 1 (length (string/find-all "error" (process :err))) (process :err))))

###
### Silence
###

(t/test "a client that sends nothing gets pings, and stays if it answers them"
  (with-server [server errors echo :ping 0.05 :pong-timeout 20]
    (with [c (w/connect server)]
      (repeat 3
        (t/same [:ping ""] (:receive c))
        (:send c (w/frame :pong)))
      (:send c (w/frame :text "still here"))
      (var frame (:receive c))
      (while (= :ping (first frame)) (set frame (:receive c)))
      (t/same [:text "still here"] frame))))

(t/test "a client that does not answer a ping is gone, even in the middle of a frame"
  (each start ["" (string/slice (w/frame :text "half a frame") 0 8) "\x81" (w/frame :text "half" :more true)]
    (def seen @[])
    (with-server [server errors (fn [ws] (array/push seen (:read ws) (ws :close-code) (ws :close-reason)))
                  :ping 0.05 :pong-timeout 0.05]
      (with [c (w/connect server)]
        (:send c start)
        (t/same [:ping ""] (:receive c))
        (t/same nil (:receive c)))
      (all-ended server)
      (t/same [] errors))
    (t/same [nil 1006 "the client did not answer a ping"] seen)))

(t/test "pings of the client are answered while the handler waits for something else"
  (def end (ev/chan))
  (with-server [server errors (fn [ws] (ev/take end))]
    (with [c (w/connect server)]
      (repeat 3
        (:send c (w/frame :ping "are you there?"))
        (t/same [:pong "are you there?"] (:receive c)))
      (ev/give end true))))

(t/test "the handler can ping"
  (with-server [server errors (fn [ws] (:ping ws) (:ping ws "payload") (:read ws))]
    (with [c (w/connect server)]
      (t/same [:ping ""] (:receive c))
      (t/same [:ping "payload"] (:receive c)))))

###
### Slow clients, and several tasks
###

(defn- fill
  "Has a handler write until its write waits. Returns how many messages were written before that, by the time it stands still."
  [count]
  (var last -1)
  (t/wait-until "a write that waits" (fn []
                                       (ev/sleep 0.02)
                                       (def now (count))
                                       (defer (set last now) (and (pos? now) (= now last)))))
  (count))

(t/test "a write to a client that does not read waits when :max-queued is reached, and goes on when it reads"
  (var written 0)
  (def size 10000)
  (def count 3000)
  (with-server [server errors (fn [ws]
                                (repeat count
                                  (:write ws (string/repeat "x" size))
                                  (++ written)))
                :max-queued 100000]
    (with [c (w/connect server)]
      (t/check (< (fill |written) count) "not all was written")
      (repeat count
        (def [opcode payload] (:receive c))
        (t/same [:text size] [opcode (length payload)]))
      (t/same [:close (w/close-payload 1000)] (:receive c)))
    (t/same count written)
    (all-ended server)))

(t/test "a client that takes nothing for the :pong-timeout is gone"
  (with-server [server errors (fn [ws] (forever (:write ws (string/repeat "x" 100000))))
                :max-queued 100000 :pong-timeout 0.2]
    (with [c (w/connect server)]
      (all-ended server)
      (t/same [] errors))))

(t/test "messages of several tasks are whole, even if the client is slow"
  (def tasks 8)
  (def each-task 40)
  (with-server [server errors
                (fn [ws]
                  (t/together tasks (fn [i]
                                      (repeat each-task
                                        (:write ws (string/repeat (string/from-bytes (+ 97 i)) (+ 20000 (* i 1000))))))))
                :max-queued 50000]
    (with [c (w/connect server)]
      (def counts @{})
      (repeat (* tasks each-task)
        (def [opcode payload] (:receive c))
        (def i (- (first payload) 97))
        (t/check (= payload (string/repeat (string/from-bytes (+ 97 i)) (+ 20000 (* i 1000)))) "a whole message")
        (update counts i |(inc (or $ 0))))
      (t/same (seq [i :range [0 tasks]] each-task) (map counts (range tasks)))
      (t/same [:close (w/close-payload 1000)] (:receive c)))
    (t/same [] errors)))

(t/test "a task whose write is cancelled leaves whole frames behind"
  (with-server [server errors
                (fn [ws]
                  (t/raised |(ev/with-deadline 0.1 (forever (:write ws (string/repeat "x" 10000)))))
                  (:read ws)
                  (:write ws "last"))
                :max-queued 100000]
    (with [c (w/connect server)]
      (:send c (w/frame :text "go on"))
      (var frame (:receive c))
      (while (= 10000 (length (last frame))) (set frame (:receive c)))
      (t/same [:text "last"] frame))))

(t/test "a client that asks with pings and never reads the pongs costs little memory, and the last one is answered"
  (def end (ev/chan))
  (with-server [server errors (fn [ws] (ev/take end)) :pong-timeout 60]
    (with [c (w/connect server)]
      (def payload (string/repeat "p" 125))
      (def pings (string/repeat (w/frame :ping payload) 20000))
      (def sent (t/background |(:send c pings (w/frame :ping "last"))))
      (var frame [:pong payload])
      (while (= frame [:pong payload]) (set frame (:receive c)))
      (t/same [:pong "last"] frame)
      (t/same true (first (ev/take sent)))
      (ev/give end true))))

(t/test "messages wait for a reader up to :max-unread, and then the client waits"
  (def go (ev/chan))
  (var read 0)
  (def count 100)
  (with-server [server errors (fn [ws]
                                (ev/take go)
                                (while (:read ws) (++ read)))
                :max-unread 2]
    (with [c (w/connect server)]
      (def message (w/frame :binary (string/repeat "x" 100000)))
      (def sent (t/background |(:send c (string/repeat message count) (w/frame :close))))
      (t/same 0 (ev/count sent))
      (ev/give go true)
      (t/same true (first (ev/take sent)))
      (t/same [] (:closed c)))
    (all-ended server)
    (t/same count read)))

(t/test "a handler waits for messages and a channel at once"
  (def news (ev/chan))
  (with-server [server errors
                (fn [ws]
                  (var going true)
                  (while going
                    (match (ev/select news (ws :incoming))
                      [:take from message]
                      (cond
                        (= from news) (:write ws (string "news: " message))
                        message (:write ws (string "you said: " message))
                        (set going false)))))]
    (with [c (w/connect server)]
      (ev/give news "one")
      (t/same [:text "news: one"] (:receive c))
      (:send c (w/frame :text "hello"))
      (t/same [:text "you said: hello"] (:receive c))
      (ev/give news "two")
      (t/same [:text "news: two"] (:receive c))
      (:send c (w/frame :close))
      (t/same [] (:closed c)))
    (all-ended server)))

(t/test "a handler that has selected from :incoming waits for the client at its end all the same"
  (def news (ev/chan 1))
  (with-server [server errors
                (fn [ws]
                  (ev/give news "news")
                  (:write ws (in (ev/select news (ws :incoming)) 2))
                  (ev/go (fn [] (ev/give news "more")))
                  (:write ws (in (ev/select (ws :incoming) news) 2)))]
    (with [c (w/connect server)]
      (t/same [:text "news"] (:receive c))
      (t/same [:text "more"] (:receive c))
      (t/same [:close (w/close-payload 1000)] (:receive c))
      (t/same "timeout" (t/raised |(:read (c :conn) 1 @"" 0.1)) "the connection is still open")
      (:send c (w/frame :close (w/close-payload 1000)))
      (t/same nil (:receive c)))
    (all-ended server)))

(t/test "a handler that closes its channel, or reads from the connection by itself, does not keep the connection from ending"
  (var ready nil)
  (def got @[])
  (each handler [(fn [ws]
                   (ev/chan-close (ws :incoming))
                   (ev/give ready true)
                   (ev/take ready)
                   (array/push got (:read ws)))
                 (fn [ws]
                   # The task that reads is replaced, and finds that when it begins again.
                   (protect (ev/with-deadline 0.05 (ev/read ((ws :request) :connection) 10)))
                   (ev/give ready true)
                   (ev/take ready)
                   (array/push got (:read ws)))]
    (set ready (ev/chan))
    (with-server [server errors handler :close-timeout 0.1]
      (with [c (w/connect server)]
        (ev/take ready)
        (:send c (w/frame :text "x") (w/frame :close))
        (ev/give ready true))
      (all-ended server)
      (t/same [] errors)))
  (t/same 2 (length got)))

(t/test "writing to the connection beside the WebSocket does not stop its queue for ever"
  (def big (string/repeat "z" 20000000))
  (with-server [server errors
                (fn [ws]
                  (ev/go (fn [] (protect (:write ((ws :request) :connection) big))) nil (ev/chan 1))
                  (forever (:write ws (string/repeat "q" 100000))))
                :max-queued 200000]
    (with [c (w/connect server)]
      (var total 0)
      (while (< total 21000000)
        (def bytes (:read (c :conn) 65536 @"" 20))
        (+= total (length bytes))))
    (all-ended server)))

(t/test "several tasks that read all get nil at the end"
  (def ended (ev/chan 10))
  (with-server [server errors (fn [ws]
                                (t/together 3 (fn [_] (while (:read ws)) (ev/give ended true))))]
    (with [c (w/connect server)]
      (:send c (w/frame :text "x") (w/frame :close))
      (t/same [] (:closed c)))
    (all-ended server)
    (t/same 3 (ev/count ended))))

(t/test "a task that still has the WebSocket after its handler gets nil, or an error"
  (var kept nil)
  (with-server [server errors (fn [ws] (set kept ws))]
    (with [c (w/connect server)]
      (:send c (w/frame :close))
      (:closed c))
    (all-ended server)
    (t/same nil (:read kept))
    (t/same nil (:close kept))
    (t/raises [:kqnet/gone "the WebSocket is closed"] (:write kept "x"))
    (t/raises [:kqnet/gone "the WebSocket is closed"] (:ping kept))))

(t/test "with closes the WebSocket"
  (with-server [server errors (fn [ws] (with [w ws] (:write w "x")) (:read ws))]
    (with [c (w/connect server)]
      (t/same [:text "x"] (:receive c))
      (t/same [:close (w/close-payload 1000)] (:receive c)))))

###
### The server
###

(t/test "an open WebSocket counts as an active connection"
  (with-server [server errors echo]
    (with [c (w/connect server)]
      (t/same 1 (active server))
      (with [d (w/connect server)]
        (t/same 2 (active server))))
    (all-ended server)))

(t/test "a drain sends 1001, and waits for the handlers"
  (with-server [server errors echo]
    (def clients (seq [_ :range [0 5]] (w/connect server)))
    (def left (t/background |(kqnet/drain server 20)))
    (each c clients
      (t/same [:close (w/close-payload 1001 "the server is ending")] (:receive c))
      (:send c (w/frame :close (w/close-payload 1001)))
      (t/same nil (:receive c))
      (:close c))
    (t/same [true 0] (ev/take left))
    (t/same [] errors)))

(t/test "a drain does not wait longer for a client than its :close-timeout"
  (with-server [server errors echo :close-timeout 0.1]
    (with [c (w/connect server)]
      (t/same 0 (kqnet/drain server 20))
      (t/same [1001 "the server is ending"] (:closed c)))))

(t/test "a handler that does not end is counted by a drain, and cancelled if asked"
  (with-server [server errors (fn [ws] (ev/sleep 1000)) :close-timeout 0.1]
    (with [c (w/connect server)]
      (t/same 1 (kqnet/drain server 0.05))
      (t/same 1 (kqnet/drain server 0.05 :cancel true))
      (all-ended server)
      (t/same [] errors))))

(t/test "a WebSocket that begins while the server drains is told to end"
  (def go (ev/chan))
  (def errors @[])
  (with [server (http/server (fn [req] (ev/take go) (websocket/upgrade req echo)) host 0 :on-error (raised errors))]
    (with [c (h/client server)]
      (:send c "GET" "/" w/handshake)
      (t/wait-until "the handler" |(pos? (active server)))
      (def left (t/background |(kqnet/drain server 20)))
      (ev/sleep 0)
      (ev/give go true)
      (def ws (w/over (c :conn) (c :buf)))
      (t/same 101 ((:head c) :status))
      (t/same [:close (w/close-payload 1001 "the server is ending")] (:receive ws))
      (:send ws (w/frame :close))
      (t/same nil (:receive ws))
      (:close c)
      (t/same [true 0] (ev/take left)))
    (t/same [] errors)))

(t/test "WebSockets go on while garbage is collected"
  (with-server [server errors echo]
    (repeat 20
      (with [c (w/connect server)]
        (:send c (w/frame :text "x"))
        (:receive c)))
    (all-ended server)
    (gccollect)
    (with [c (w/connect server)]
      (:send c (w/frame :text "x"))
      (gccollect)
      (t/same [:text "x"] (:receive c))
      (gccollect)
      (:send c (w/frame :text "y"))
      (t/same [:text "y"] (:receive c)))))

(t/test "a thousand clients are echoed, and all of them end"
  (with-server [server errors echo]
    (def clients (seq [i :range [0 1000]] (w/connect server)))
    (t/same 1000 (active server))
    (each c clients (:send c (w/frame :text "to all")))
    (each c clients (t/same [:text "to all"] (:receive c)))
    (gccollect)
    (each c clients (:send c (w/frame :text "again")))
    (each c clients
      (t/same [:text "again"] (:receive c))
      (:send c (w/frame :close))
      (t/same [] (:closed c))
      (:close c))
    (all-ended server)
    (t/same [] errors)))

(t/finish)
