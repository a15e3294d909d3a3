###
### A stand-in for spork/http, for machines without spork.
###
### It has the same public names with the same contracts, as far as kqnet and its tests need them.
###

(defn- join-pairs
  "Makes a table of keys and values. A key that occurs more than once gets an array of its values."
  [& kvs]
  (def result @{})
  (each [k v] (partition 2 kvs)
    (def old (in result k))
    (put result k (cond (nil? old) v (array? old) (array/push old v) @[old v])))
  result)

(defn- head-peg
  "Matches a first line, and header names and values."
  [first-line]
  (peg/compile
    ~{:eol "\r\n"
      :token (some (range "!9" ";~"))
      :line (any (if-not (set "\r\n\0") 1))
      :field (* (/ ':token ,string/ascii-lower) ":" (any (set " \t")) ':line :eol)
      :main (* ,first-line :eol (any :field) :eol)}))

(def request-peg
  "Matches the head of a request: method, path, and header names and values."
  (head-peg '(* '(some (range "AZ")) (some " ") '(some (range "!~")) (some " ") "HTTP/1." :d)))

(def response-peg
  "Matches the head of a response: status, message, and header names and values."
  (head-peg ~(* "HTTP/1." :d (some " ") (/ ':d+ ,scan-number) (any " ") ':line)))

(def query-string-grammar
  "Matches a query string, and captures a table of its parameters."
  (peg/compile
    ~{:byte (+ (* "%" (/ (number (* :h :h) 16) ,string/from-bytes)) (* "+" (constant " ")))
      :key (accumulate (some (+ :byte (if-not (set "=&;") '1))))
      :value (accumulate (any (+ :byte (if-not (set "&;") '1))))
      :main (/ (any (* :key (+ (* "=" :value) (constant true)) (+ (set "&;") -1))) ,join-pairs)}))

(def cookie-grammar
  "Matches a Cookie header, and captures names and values."
  (peg/compile
    '{:part '(some (if-not (set "=;") 1))
      :main (some (* :part "=" :part (any (set "; "))))}))

(def url-grammar
  "Matches a URL, and captures scheme, host, port and path."
  (peg/compile
    '{:main (* '(+ "https" "http") "://" '(some (if-not (set ":/") 1))
               (+ (* ":" ':d+) (constant nil)) (+ '(some 1) (constant "/")))}))

(def status-messages
  "The messages of status codes."
  {100 "Continue" 101 "Switching Protocols" 200 "OK" 201 "Created" 202 "Accepted" 204 "No Content"
   206 "Partial Content" 301 "Moved Permanently" 302 "Found" 303 "See Other" 304 "Not Modified"
   400 "Bad Request" 401 "Unauthorized" 403 "Forbidden" 404 "Not Found" 405 "Method Not Allowed"
   408 "Request Timeout" 413 "Payload Too Large" 416 "Range Not Satisfiable" 418 "I'm a teapot"
   429 "Too Many Requests" 500 "Internal Server Error" 501 "Not Implemented" 503 "Service Unavailable"})

(defn- read-head
  [conn buf peg first-key second-key]
  (var open true)
  (while (and open (not (string/find "\r\n\r\n" buf)))
    (set open (:read conn 65536 buf)))
  (def found (if open (peg/match peg buf)))
  (if-not found
    :error
    (let [[a b] found
          size (+ 4 (string/find "\r\n\r\n" buf))
          rest (buffer/slice buf size)]
      (buffer/push (buffer/clear buf) rest)
      @{first-key a second-key b
        :headers (join-pairs ;(slice found 2))
        :connection conn :buffer buf :head-size size})))

(defn read-request
  "Reads the head of a request. Returns a table, or :error."
  [conn buf &opt no-query]
  (def head (read-head conn buf request-peg :method :path))
  (unless (or no-query (= :error head))
    (def [route query] (string/split "?" (head :path) 0 2))
    (put head :route route)
    (when query
      (put head :query-string query)
      (put head :query (first (peg/match query-string-grammar query)))))
  head)

(defn read-response
  "Reads the head of a response. Returns a table, or :error."
  [conn buf]
  (read-head conn buf response-peg :status :message))

(defn read-body
  "Reads the body of a message with Content-Length. Returns nil without one."
  [message]
  (def {:body body :headers headers :buffer buf :connection conn} message)
  (cond
    body body
    (in headers "content-length")
    (let [left (- (scan-number (in headers "content-length")) (length buf))]
      (when (pos? left) (:chunk conn left buf))
      (put message :body buf)
      buf)))

(defn- write-message
  [conn buf headers body]
  (eachp [name value] (or headers {})
    (each one (if (indexed? value) value [value])
      (buffer/format buf "%V: %V\r\n" name one)))
  (cond
    (nil? body) (buffer/push buf "\r\n")
    (bytes? body) (buffer/format buf "Content-Length: %d\r\n\r\n%V" (length body) body)
    (do
      (buffer/push buf "Transfer-Encoding: chunked\r\n\r\n")
      (each piece body (buffer/format buf "%x\r\n%V\r\n" (length piece) piece))
      (buffer/push buf "0\r\n\r\n")))
  (:write conn buf)
  (buffer/clear buf))

(defn send-response
  "Writes a response."
  [conn response &opt buf]
  (default buf @"")
  (def status (get response :status 200))
  (buffer/format buf "HTTP/1.1 %d %s\r\n" status (in status-messages status ""))
  (write-message conn buf (get response :headers) (get response :body)))

(defn middleware
  "Makes a handler from a function, a status, bytes, or a response."
  [x]
  (case (type x)
    :function x
    :number (fn [&] {:status x :body (in status-messages x)})
    :string (fn [&] {:status 200 :body x})
    :buffer (fn [&] {:status 200 :body x})
    (fn [&] x)))

(defn router
  "Makes a handler that calls the handler of the request's route, or that of :default."
  [routes]
  (fn router-mw [req]
    (if-let [found (or (get routes (get req :route)) (get routes :default))]
      ((middleware found) req)
      {:status 404 :body "Not Found"})))

(defn logger
  "Makes a handler that prints a line for each request."
  [nextmw]
  (def out (dyn *out* stdout))
  (fn logger-mw [req]
    (def start (os/clock))
    (def response (nextmw req))
    (xprintf out "%s %d %s elapsed %.3fms" (req :method) (or (get response :status) 200) (req :path)
             (* 1000 (- (os/clock) start)))
    (file/flush out)
    response))

(defn cookies
  "Makes a handler whose requests have a table of their cookies."
  [nextmw]
  (fn cookie-mw [req]
    (def found (if-let [value (in (req :headers) "cookie")] (peg/match cookie-grammar value)))
    (nextmw (put req :cookies (if found (table ;found) {})))))

(defn server-handler
  "Serves one request on a connection, and closes it."
  [conn handler]
  (defer (:close conn)
    (def req (read-request conn @""))
    (send-response conn (if (= :error req) {:status 400} ((middleware handler) req)))))

(defn server
  "Starts a server."
  [handler &opt host port]
  (net/server (or host "0.0.0.0") (or port 8000) (fn [conn] (server-handler conn handler))))

(defn request
  "Makes a request, and reads the response."
  [method url &keys {:body body :headers headers}]
  (def [_ host port path] (or (peg/match url-grammar url) (errorf "invalid url: %s" url)))
  (with [conn (net/connect host (or port "80"))]
    (write-message conn (buffer method " " path " HTTP/1.1\r\nHost: " host "\r\nConnection: close\r\n") headers body)
    (def response (read-response conn @""))
    (when (= :error response) (error response))
    (unless (= method "HEAD") (read-body response))
    response))
