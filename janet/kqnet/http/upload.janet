###
### A file of a form: what its table has, and its methods.
###

(import ../_native :as native)
(import ../show)

(def- read-size
  "How many bytes of a file are read at once."
  65536)

(defn- read
  ``Reads the next `n` bytes of a file, or all that follow if `n` is :all, and appends them to the buffer `buf`, if there is
  one. Returns the buffer, or nil at the end of the file.``
  [{:upload upload} n &opt buf]
  (default buf @"")
  (cond
    (= n :all) (do
                 (while (native/upload-read upload read-size buf))
                 buf)
    (and (int? n) (pos? n)) (if (native/upload-read upload n buf) buf)
    (errorf "a number of bytes to read must be a positive integer or :all, got %s" (show/value n))))

(defn- save
  ``Saves a file under a path, where it appears when it is complete, and returns the path. What was there is replaced. The
  other requests have their turns meanwhile.``
  [{:upload upload} path]
  (unless (native/upload-save upload path)
    (try
      (while (not (native/upload-save-more upload))
        (ev/sleep 0))
      # The task was cancelled.
      ([err fib]
        (native/upload-save-stop upload)
        (propagate err fib))))
  path)

(defn- close
  "Drops the content of a file, which ends with the request otherwise."
  [{:upload upload}]
  (native/upload-close upload))

(def- methods
  @{:read read :save save :close close})

(defn make
  "Makes the table of a file from the head of its part and the native upload."
  [{:name name :filename filename :content-type content-type} upload]
  (table/setproto @{:name name
                    :filename filename
                    :content-type content-type
                    :size (native/upload-size upload)
                    :upload upload}
                  methods))

(defn upload?
  ``Returns whether `x`, a value of a form, is a file. A client may send a text where a file is expected, a file where a text
  is expected, and several of both.``
  [x]
  (and (table? x) (= methods (table/getproto x))))
