###
### Reading a form with files part by part, as it comes.
###

(import ../_native :as native)
(import ../options)
(import ../signature)
(import ../show)
(import ./body)
(import ./errors)

(def- piece-size
  "The most bytes of a piece of a part's body."
  65536)

(def part-limits
  "The limits of each part, by default."
  {:max-name 256 :max-part-head 8192})

(def- names [:max-name :max-part-head])

(defn refuse
  "Refuses the request. The client is told the reason and a detail, which begins with what `format` and `args` make."
  [status reason & args]
  (error (errors/reject [status reason] (if-not (empty? args) (string/format ;args)))))

(defn check-request
  "Raises an error in the name of `who` unless `req` is a table with headers, as a request is, whose connection has not ended."
  [who req]
  (unless (and (table? req) (dictionary? (in req :headers)))
    (errorf "%s: expected a request, got %s" who (show/value req)))
  (unless (in req :form)
    (body/check-open req (native/http-of (in req :connection)))))

(defn type-of
  "Returns how the body of `req` is to be read: :urlencoded, a parser for one with parts, or nil if it has no Content-Type."
  [req max-part-head]
  (def content-type (get-in req [:headers "content-type"]))
  (when content-type
    (when (indexed? content-type) (refuse 400 "more than one Content-Type"))
    (def found (native/form-type content-type max-part-head))
    (cond
      (nil? found) (refuse 415 "the body is not a form" "its type is %s" (show/value content-type))
      (tuple? found) (refuse (in found 0) (in found 1))
      found)))

(defn open-body
  ``Returns a function that appends what comes next of the body of `req` to a buffer, waits for it if need be, and returns
  whether the body is complete. `reader` is :form or :parts.``
  [req reader]
  (body/begin-reading (string "kqnet/http/" reader) req reader)
  (def http (native/http-of (in req :connection)))
  (if (and http (nil? (in req :body)))
    (body/taker req http)
    # The body was read already, or belongs to a request of another server.
    (fn [out]
      (when-let [whole (body/read-body req)] (buffer/push out whole))
      true)))

# A reader is a table of
#
# * :parser - the native parser;
# * :more - the function that `open-body` returns;
# * :received - a buffer with what has come and was not parsed;
# * :complete - whether all of the body has come;
# * :part - the head of the part that is being read.

(defn open-reader
  "Makes a reader for the body of `req`, on behalf of `form` or `parts`, as the keyword `who` says."
  [who req parser opts]
  @{:parser parser :more (open-body req who) :received @"" :complete false :max-part-head (opts :max-part-head)
    :max-name (opts :max-name)})

(defn- refuse-part
  "Refuses the request for something in its body. The client is told in which part, and what the limit is."
  [{:part part :max-part-head max-part-head} [status reason told]]
  (when told
    # The program's own trouble.
    (def [ok] (protect (eprint "kqnet/http: " status ": " told)))
    (unless ok (native/say told))
    (refuse status reason))
  (cond
    (= status 413) (refuse status reason "a part may have %d bytes of headers (:max-part-head), and 32 of them" max-part-head)
    part (refuse status reason "in or after the part %s" (show/value (in part :name)))
    (refuse status reason)))

(defn spill
  "Moves the content of an upload to a temporary file."
  [reader upload folder]
  (when-let [refusal (native/upload-spill upload folder)]
    (refuse-part reader refusal)))

(defn- step
  "Reads on in what has come. Returns what `native/multipart-next` does, unless the body is refused."
  [reader sink most]
  (def event (native/multipart-next (in reader :parser) (in reader :received) sink most))
  (if (tuple? event) (refuse-part reader event) event))

(defn- await-more
  "Waits for more of the body. Returns false at its end."
  [reader]
  (if (in reader :complete)
    (when-let [refusal (native/multipart-finish (in reader :parser))]
      (refuse-part reader refusal))
    (do
      (put reader :complete ((in reader :more) (in reader :received)))
      true)))

(defn next-event
  "Reads on until there is an event, waiting for more of the body. Returns nil at the end."
  [reader sink &opt most]
  (var event (step reader sink most))
  (while (and (nil? event) (await-more reader))
    (set event (step reader sink most)))
  event)

(defn next-part
  "Returns the head of the next part, or nil at the end. The part before must have been read to its end."
  [reader]
  (def part (next-event reader nil))
  (put reader :part part)
  (when (and part (> (length (in part :name)) (in reader :max-name)))
    (refuse 413 "a name in the form is too long" "%s has more than %d bytes (:max-name)"
            (show/value (in part :name)) (in reader :max-name)))
  part)

(defn- pieces
  "Returns a fiber that yields the data of the part as it comes, and notes its end in `state`."
  [reader state]
  (coro
    (var event nil)
    (while (not= event :end)
      (when (in state :passed)
        (errorf "the body of the part %s is gone: the part after it was asked for" (show/value (in state :name))))
      (def out @"")
      (set event (step reader out piece-size))
      (while (and (nil? event) (empty? out) (await-more reader))
        (set event (step reader out piece-size)))
      (put state :ended (= event :end))
      (unless (empty? out) (yield out)))))

(defn parts
  ``Returns a fiber that yields the parts of the request `req`, whose body is a form of the type multipart/form-data, as
  they come. Nothing is held in memory or in files. A part is a table of:

  * :name - the name of the field, a string.
  * :filename - the name of the file, without folders and control characters, or nil if the part is not a file. It may be
    empty.
  * :content-type - the value of the part's Content-Type, or nil.
  * :headers - all headers of the part, a table by name in lower case.
  * :body - a fiber that yields the data in buffers of at most 64 KiB as they come.

  All of that is what the client says, and none of it may be trusted. What is not read of a :body is skipped when the next
  part is asked for, after which that :body raises an error. The loop may end early. By name:

  * :max-name - the most bytes of a name. Default 256. The client gets 413 for a longer one.
  * :max-part-head - the most bytes of the headers of one part. Default 8192. The client gets 413 for more.

  The size of the whole body is limited by the server's :max-body. Raises the errors of `read-body` and `form`: the client
  gets 415 if the body has another type, and 400 if it is malformed (RFC 7578, RFC 2046), unless the handler catches the
  error.``
  [req & args]
  (def opts (merge part-limits (options/split "kqnet/http/parts" [] names args)))
  (check-request "kqnet/http/parts" req)
  (def parser (type-of req (opts :max-part-head)))
  (unless (abstract? parser)
    (refuse 415 "the body is not a form with parts" "it must be multipart/form-data"))
  (def reader (open-reader :parts req parser opts))
  (coro
    (var part (next-part reader))
    (while part
      (def state @{:name (in part :name)})
      (yield (merge part {:body (pieces reader state)}))
      (put state :passed true)
      (unless (in state :ended)
        (while (not= :end (next-event reader nil))))
      (set part (next-part reader)))))
(signature/show parts [] names)
