###
### A raw WebSocket client for the tests of servers: it sends whatever bytes a test wants, and reads frames strictly.
###

(import ./init :as t)
(import ./http :as h)

(def- patience
  "Seconds to wait for a frame."
  20)

(def handshake
  "The headers of a handshake. The key is the one of RFC 6455, 1.3."
  ["Upgrade: websocket" "Connection: Upgrade" "Sec-WebSocket-Version: 13"
   "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="])

(def- opcodes {:continuation 0 :text 1 :binary 2 :close 8 :ping 9 :pong 10})

(def- names (invert opcodes))

(defn- big-endian
  [number bytes]
  (def digits (seq [i :down-to [(dec bytes) 0]] (mod (math/floor (/ number (math/pow 256 i))) 256)))
  (string/from-bytes ;digits))

(defn frame
  ``The bytes of a frame. By name: :more for a message that goes on, :reserved for the reserved bits (from 0 to 7),
  :unmasked for a frame without a mask, :size for another length than the payload's, and :width for the number of bytes
  of an extended length (2 or 8).``
  [opcode &opt payload &named more reserved unmasked size width]
  (default payload "")
  (default size (length payload))
  (default width (cond (< size 126) 0 (< size 65536) 2 8))
  (def mask "\x12\x34\x56\x78")
  (def out @"")
  (buffer/push out (+ (if more 0 128) (* 16 (or reserved 0)) (get opcodes opcode opcode)))
  (buffer/push out (+ (if unmasked 0 128) (case width 0 size 2 126 127)))
  (when (pos? width) (buffer/push out (big-endian size width)))
  (unless unmasked (buffer/push out mask))
  (def at (length out))
  (buffer/push out payload)
  (unless unmasked
    (for i 0 (length payload)
      (put out (+ at i) (bxor (in payload i) (in mask (mod i 4))))))
  (string out))

(defn close-payload
  "The payload of a Close frame."
  [code &opt reason]
  (string (big-endian code 2) (or reason "")))

(def- client-methods
  @{:send
    (fn send [self & frames]
      (:write (self :conn) (string ;frames))
      self)

    :more
    (fn more [self size]
      (def buf (self :buf))
      (while (and (< (length buf) size)
                  (:read (self :conn) 65536 buf patience)))
      (<= size (length buf)))

    :take
    (fn take [self size]
      (t/check (:more self size) (string/format "%d bytes, not %q and the end" size (self :buf)))
      (def buf (self :buf))
      (def taken (string/slice buf 0 size))
      (buffer/blit buf buf 0 size)
      (buffer/popn buf size)
      taken)

    :receive
    (fn receive [self]
      # The next frame as a tuple of opcode and payload, or nil at the end of the connection.
      (when (:more self 1)
        (def [first second] (:take self 2))
        (t/check (>= first 128) "a frame that is the last of its message")
        (t/check (< second 128) "a frame without a mask")
        (def number (fn [size] (reduce |(+ (* 256 $0) $1) 0 (:take self size))))
        (def size (case second 126 (number 2) 127 (number 8) second))
        [(t/check (names (mod first 128)) (string "an opcode, not " first)) (:take self size)]))

    :closed
    (fn closed [self]
      # The code and reason of the Close frame that must be next, and after which the connection must end.
      (def [opcode payload] (or (:receive self) (t/fail "a Close frame" "the end")))
      (t/same :close opcode payload)
      (t/same nil (:receive self) "what follows the Close frame")
      (if (empty? payload)
        []
        [(+ (* 256 (in payload 0)) (in payload 1)) (string/slice payload 2)]))

    :close
    (fn close [self] (:close (self :conn)))})

(defn over
  "A client on a connection on which the handshake is over. `buf` has what was read of the frames."
  [conn buf]
  (table/setproto @{:conn conn :buf buf} client-methods))

(defn connect
  "Connects, and makes the handshake, with more headers if they are given. Fails unless it is accepted."
  [where &opt path headers]
  (def c (h/client where))
  (:send c "GET" (or path "/") [;handshake ;(or headers [])])
  (def head (:head c))
  (t/same 101 (head :status))
  (t/same "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" (get-in head [:headers "sec-websocket-accept"]))
  (put (over (c :conn) (c :buf)) :headers (head :headers)))
