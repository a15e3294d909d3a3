###
### A small and strict HTTP client for the tests of servers: a malformed answer fails the test.
###

(import ./init :as t)

(def- patience
  "Seconds to wait for an answer."
  20)

(defn request
  "The bytes of a request. It has a Host header, and Content-Length if there is a body."
  [method path &opt headers body]
  (def lines
    [(string method " " path " HTTP/1.1")
     "Host: h"
     ;(or headers [])
     ;(if body [(string "Content-Length: " (length body))] [])])
  (string (string/join lines "\r\n") "\r\n\r\n" (or body "")))

(def- head-grammar
  (peg/compile
    ~{:token (some (+ :w (set "!#$%&'*+-.^_`|~")))
      :value (any (if-not (set "\r\n\0") 1))
      :header (group (* (/ ':token ,string/ascii-lower) ": " ':value "\r\n"))
      :main (* "HTTP/1.1 " (number (3 :d)) " " ':value "\r\n" (any :header) "\r\n" -1)}))

(defn parse-head
  "Parses the head of a response. Returns a table of :status, :reason and :headers."
  [text]
  (def [status reason & fields]
    (t/check (peg/match head-grammar text) (string/format "a head, not %q" text)))
  (def headers @{})
  (each [name value] fields
    (if-let [old (headers name)]
      (put headers name (if (array? old) (array/push old value) @[old value]))
      (put headers name value)))
  @{:status status :reason reason :headers headers})

(defn brief
  "The status and the body of a response."
  [{:status status :body body}]
  [status body])

(defn- more
  "Reads some more bytes. Returns nil at the end."
  [{:conn conn :buf buf}]
  (:read conn 65536 buf patience))

(defn- take-bytes
  "Takes `size` bytes, or fewer at the end."
  [self size]
  (def buf (self :buf))
  (while (and (< (length buf) size) (more self)))
  (def taken (string/slice buf 0 (min size (length buf))))
  (buffer/blit buf buf 0 (length taken))
  (buffer/popn buf (length taken))
  taken)

(defn- take-line
  [self]
  (var end nil)
  (while (not (set end (string/find "\r\n" (self :buf))))
    (t/check (more self) (string/format "a line, not %q" (self :buf))))
  (string/slice (take-bytes self (+ 2 end)) 0 -3))

(defn- take-chunks
  [self pieces]
  (forever
    (def size (t/check (scan-number (take-line self) 16) "the size of a chunk"))
    (when (zero? size)
      (t/same "" (take-line self))
      (break))
    (array/push pieces (take-bytes self size))
    (t/same "" (take-line self) "what follows a chunk")))

(def- client-methods
  @{:send
    (fn send [self method path &opt headers body]
      (put self :method method)
      (:write (self :conn) (request method path headers body))
      self)

    :head
    (fn head [self]
      (var end nil)
      (while (not (set end (string/find "\r\n\r\n" (self :buf))))
        (unless (more self)
          (t/fail "a response" (string (self :buf)) "the connection has ended")))
      (parse-head (take-bytes self (+ 4 end))))

    :receive
    (fn receive [self &opt method]
      (def response (:head self))
      (def {:headers headers :status status} response)
      (def size (headers "content-length"))
      (def pieces @[])
      (cond
        (or (= "HEAD" (or method (self :method))) (< status 200) (= status 204) (= status 304)) nil
        (= "chunked" (headers "transfer-encoding")) (take-chunks self pieces)
        size (array/push pieces (take-bytes self (scan-number size)))
        (array/push pieces (take-bytes self math/int32-max)))
      (put response :pieces pieces)
      (put response :body (string ;pieces)))

    :ask
    (fn ask [self & args]
      (:send self ;args)
      (:receive self))

    :take
    (fn take [self size] (take-bytes self size))

    :rest
    (fn rest [self] (take-bytes self math/int32-max))

    :close
    (fn close [self] (:close (self :conn)))})

(defn client
  ``Connects. Returns a table with methods: :send sends a request, :head takes the head of a response,
  :receive takes a whole response (a table of :status, :reason, :headers, :body and, if it is chunked,
  :pieces), :ask sends and receives, :take takes a number of bytes, :rest takes what comes until the end,
  and :close closes the connection.``
  [where]
  (table/setproto @{:conn (t/connect where) :buf @""} client-methods))

(defn fetch
  "Sends one request on a connection of its own, and returns the response."
  [where method path &opt headers body]
  (with [c (client where)]
    (def response (:ask c method path ["Connection: close" ;(or headers [])] body))
    (t/same "" (:rest c) "what follows the response")
    response))
