###
### A page on which files of up to 1 GiB are uploaded. They are saved in a folder, and served from there.
### Usage: janet examples/upload.janet FOLDER [port], and then http://127.0.0.1:8000/
###
### Without a browser:
###
###   curl -F file=@picture.png http://127.0.0.1:8000/
###   curl -T picture.png http://127.0.0.1:8000/picture.png
###   curl -O http://127.0.0.1:8000/picture.png
###

(import kqnet/http)

(def- page
  ```
  <!doctype html>
  <title>Upload</title>
  <form method="post" enctype="multipart/form-data">
    <input name="file" type="file" multiple>
    <button>Upload</button>
  </form>
  ```)

(def- name-peg
  "A name that has only harmless characters and does not begin with a dot."
  (peg/compile '(* (range "AZ" "az" "09") (any (+ (range "AZ" "az" "09") (set "._-"))) -1)))

(def- wrong-name
  {:status 400 :body "a name may have letters, digits, dots, underscores and hyphens\n"})

(defn- save-form
  "Saves the files of a form. The name that a client gives to a file may be any."
  [folder req]
  (def found (get (http/form req :folder folder) "file" []))
  (def files (filter http/upload? (if (array? found) found [found])))
  (if (all |(peg/match name-peg ($ :filename)) files)
    {:status 201
     :body (string/join (seq [file :in files]
                          (:save file (string folder "/" (file :filename)))
                          (string (file :filename) ": " (file :size) " bytes\n")))}
    wrong-name))

(defn- save-body
  "Writes the body of a request to a file. The file appears only when the whole body has arrived."
  [path req]
  (def partial (string path "." (string/format "%j" (math/floor (* 1e9 (math/random)))) ".partial"))
  (var size 0)
  (try
    (do
      (with [file (file/open partial :wbn)]
        (each piece (http/body-chunks req)
          (+= size (length piece))
          (file/write file piece)))
      (os/rename partial path))
    ([err fib]
      (os/rm partial)
      # The server answers the errors of body-chunks: with 413 or 408, or not at all if the client is gone.
      (propagate err fib)))
  {:status 201 :body (string size " bytes\n")})

(defn- uploads
  "A handler that stores what is posted or put in a folder, and leaves other requests to `nextmw`."
  [folder nextmw]
  (fn [req]
    (def name (string/slice (req :route) 1))
    (case [(req :method) name]
      ["GET" ""] {:headers {"Content-Type" "text/html; charset=utf-8"} :body page}
      ["POST" ""] (save-form folder req)
      ["PUT" name] (if (peg/match name-peg name)
                     (save-body (string folder "/" name) req)
                     wrong-name)
      (nextmw req))))

(defn main
  [_ folder &opt port]
  (math/seedrandom (os/cryptorand 8))
  (http/serve-forever (uploads folder (http/static folder)) "127.0.0.1" (scan-number (or port "8000"))
                      :max-body (* 1024 1024 1024)))
