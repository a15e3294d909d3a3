###
### Takes files of up to 1 GiB, writes them to a folder as they arrive, and serves them.
### Usage: janet examples/upload.janet FOLDER [port]
###
###   curl -T picture.png http://127.0.0.1:8000/picture.png
###   curl -O http://127.0.0.1:8000/picture.png
###

(import kqnet/http)

(def- name-peg
  "A path with a single name, which has only harmless characters and does not begin with a dot."
  (peg/compile '(* "/" '(* (range "AZ" "az" "09") (any (+ (range "AZ" "az" "09") (set "._-")))) -1)))

(defn- receive
  "Writes the body of a request to a file. The file appears only when the whole body has arrived."
  [req path]
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
  size)

(defn- uploads
  "A handler that stores PUT requests in a folder, and leaves other requests to `nextmw`."
  [folder nextmw]
  (fn [req]
    (if (= "PUT" (req :method))
      (if-let [[name] (peg/match name-peg (req :route))]
        {:status 201 :body (string (receive req (string folder "/" name)) " bytes\n")}
        {:status 400 :body "a name may have letters, digits, dots, underscores and hyphens\n"})
      (nextmw req))))

(defn main
  [_ folder &opt port]
  (math/seedrandom (os/cryptorand 8))
  (http/serve-forever (uploads folder (http/static folder)) "127.0.0.1" (scan-number (or port "8000"))
                      :max-body (* 1024 1024 1024)))
