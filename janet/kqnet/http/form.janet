###
### Reading a form, with or without files, into one table.
###

(import ../_native :as native)
(import ../options)
(import ../signature)
(import ../show)
(import ./parts)
(import ./upload)

(def- limits
  "The limits of a form, by default."
  (merge parts/part-limits
         {:max-fields 1000 :max-field 262144 :max-text 1048576 :max-files 20 :memory 262144}))

(def- names
  [:max-fields :max-field :max-text :max-name :max-files :max-file :max-part-head :memory :folder])

(defn- add
  "Adds a value to those that a name has already. A second value makes an array."
  [result name value]
  (def old (in result name))
  (put result name
       (cond
         (nil? old) value
         (array? old) (array/push old value)
         @[old value])))

(defn- refuse-field
  [name {:max-field max-field}]
  (parts/refuse 413 "a field of the form is too large" "%s has more than %d bytes (:max-field)" (show/value name) max-field))

(defn- refuse-text
  [{:max-text max-text}]
  (parts/refuse 413 "the text of the form is too large" "it has more than %d bytes (:max-text)" max-text))

(defn- check-fields
  [count {:max-fields max-fields}]
  (when (> count max-fields)
    (parts/refuse 413 "the form has too many fields" "it has more than %d (:max-fields)" max-fields)))

# Urlencoded.

(defn- read-text
  "Reads an urlencoded body, as long as it is not too large."
  [req opts]
  (def max-text (opts :max-text))
  (when (> (scan-number (get-in req [:headers "content-length"] "0")) max-text)
    (refuse-text opts))
  (def more (parts/open-body req :form))
  (def text @"")
  (var complete false)
  (while (not complete)
    (set complete (more text))
    (when (> (length text) max-text) (refuse-text opts)))
  text)

(defn- read-urlencoded
  [req opts]
  (def {:max-fields max-fields :max-name max-name :max-field max-field} opts)
  (def pairs (native/form-pairs (read-text req opts) max-fields))
  (check-fields (div (length pairs) 2) opts)
  (def result @{})
  (loop [i :range [0 (length pairs) 2]
         :let [name (in pairs i)
               value (in pairs (inc i))]]
    (when (> (length name) max-name)
      (parts/refuse 413 "a name in the form is too long" "%s has more than %d bytes (:max-name)" (show/value name) max-name))
    (when (> (length value) max-field) (refuse-field name opts))
    (add result name value))
  result)

# With parts.

(defn- read-field
  "Reads the value of a part that is not a file. `left` is how many more bytes of text the form may have."
  [reader {:name name} left opts]
  (def value @"")
  (def most (min (opts :max-field) left))
  (unless (= :end (parts/next-event reader value most))
    (if (= most left) (refuse-text opts) (refuse-field name opts)))
  (string value))

(defn- read-file
  "Reads a file, of which `memory` bytes may be in memory."
  [req reader part memory opts]
  (def {:max-file max-file :folder folder} opts)
  (def field (string "the file in the field " (show/value (in part :name))))
  (def upload (native/upload field memory (or max-file math/inf) (in req :connection)))
  (try
    (do
      (var event nil)
      (while (not= event :end)
        (set event (parts/next-event reader upload))
        (case event
          :spill (parts/spill reader upload folder)
          :full (parts/refuse 413 "a file of the form is too large" "%s has more than %d bytes (:max-file)"
                              (show/value (in part :name)) max-file)))
      (upload/make part upload))
    ([err fib]
      (native/upload-close upload)
      (propagate err fib))))

(defn- nothing-chosen?
  "Whether a part is a file input of a browser in which no file was chosen: it has neither a name nor data."
  [reader part]
  (and (empty? (in part :filename))
       (= :end (parts/next-event reader @"" 0))))

(defn- read-parts
  [req parser opts]
  (def reader (parts/open-reader :form req parser opts))
  (def {:max-files max-files :max-text max-text} opts)
  (def result @{})
  (def files @[])
  (var fields 0)
  (var text 0)
  (var memory (opts :memory))
  (try
    (forever
      (def part (parts/next-part reader))
      (unless part (break))
      (def name (in part :name))
      (+= text (length name))
      (when (> text max-text) (refuse-text opts))
      (if (and (in part :filename) (not (nothing-chosen? reader part)))
        (do
          (when (= (length files) max-files)
            (parts/refuse 413 "the form has too many files" "%s is one more than %d (:max-files)" (show/value name) max-files))
          (def file (read-file req reader part memory opts))
          (-= memory (native/upload-memory (in file :upload)))
          (array/push files file)
          (add result name file))
        (do
          (check-fields (++ fields) opts)
          (unless (in part :filename)
            (def value (read-field reader part (- max-text text) opts))
            (+= text (length value))
            (add result name value)))))
    ([err fib]
      (each file files (:close file))
      (propagate err fib)))
  result)

(defn- read-form
  [req opts]
  (def how (parts/type-of req (opts :max-part-head)))
  (cond
    (= how :urlencoded) (read-urlencoded req opts)
    how (read-parts req how opts)
    # Neither a type nor a body.
    (empty? (read-text req opts)) @{}
    (parts/refuse 415 "the body is not a form" "it has no Content-Type")))

(defn form
  ``Reads the form in the body of the request `req`, of the type application/x-www-form-urlencoded or multipart/form-data
  (RFC 7578). Returns a table from the name of each field to its value, or to an array of its values in their order if it
  has more than one. A value is a string, or, for a file, a table of:

  * :filename - its name on the client, without folders and control characters. It may be empty.
  * :content-type - the type that the client gives it, or nil.
  * :size - how many bytes it has.
  * :name - the name of the field.

  with the methods:

  * `(:read file n)` - returns the next `n` bytes as a buffer, or nil at the end. With :all, returns all that is left.
  * `(:save file path)` - saves it under a path, and returns the path. It appears there when it is complete, and replaces
    what was there, unless that is a folder, device, pipe or socket. Raises an error if it cannot be saved.
  * `(:close file)` - drops it before the request ends.

  Nothing that the client sends may be trusted: neither the :filename, which may be that of any file, nor the
  :content-type, nor that there is one value, and whether it is a text or a file (`upload?`). Text is not checked, and is
  UTF-8 in all browsers.

  A file is gone when the request is over. Beyond :memory its content is in a temporary file, which has no name and so is
  gone even if the process is killed. By name:

  * :max-fields - the most values that are not files. Default 1000.
  * :max-field - the most bytes of such a value. Default 256 KiB.
  * :max-text - the most bytes of all names and such values together; of an urlencoded form, of its body. Default 1 MiB.
  * :max-name - the most bytes of a name. Default 256.
  * :max-files - the most files. Default 20.
  * :max-file - the most bytes of a file. Default: no limit.
  * :max-part-head - the most bytes of the headers of one part. Default 8192.
  * :memory - how many bytes of all files together to hold in memory. Default 256 KiB.
  * :folder - the folder for temporary files. Default: $TMPDIR, or /tmp. If it is on the same file system as the path to
    save as, saving needs no copy on Linux.

  The whole body is limited by the server's :max-body, 1 MiB unless it is given. Raises an error for a form that exceeds a
  limit, that is malformed, or that has another type. If the handler does not catch it, the client gets 413, 400 or 415 with
  a text that names the limit and the field, and nothing is printed. Without space for a temporary file the client gets 507,
  without descriptors 503, and a line on stderr says why. A form that was read is kept as `(req :form)`, which later calls
  return, and one that was refused is refused again. While a task reads it, others get an error. Also raises an error if
  `parts`, or `read-body` with a sink, has read the body, and the errors of `read-body`. Writing to a temporary file is
  synchronous, at most 64 KiB at a time.``
  [req & args]
  (def opts (merge limits (options/split "kqnet/http/form" [] names args)))
  (parts/check-request "kqnet/http/form" req)
  # What follows in a body that was read in part would look like an empty form.
  (when-let [refusal (in req :form-refusal)] (error refusal))
  (when (and (= :form (in req :body-reader)) (nil? (in req :form)))
    (error (string "kqnet/http/form: another task is reading the form of this request; call http/form in one task, and give "
                   "the others what it returns")))
  (unless (in req :form)
    (try
      (put req :form (read-form req opts))
      ([err fib]
        (put req :form-refusal err)
        (propagate err fib))))
  (in req :form))
(signature/show form [] names)
