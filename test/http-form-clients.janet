###
### Forms as other projects send them (curl, Node, Python's requests) and read them (multipart, python-multipart).
###

(import ./support :as t)
(import ./support/multipart :as m)
(import ./support/programs)
(import ./support/python)
(t/need-spork)
(import kqnet/http)

(def- place (t/scratch "form-clients"))
(os/mkdir place)
(defn- in-place [name] (string place "/" name))

(def- text "0123456789abcdefghijklmnopqrstuvwxyz\r\n--\r\n")
(spit (in-place "a.txt") text)
(spit (in-place `with "quotes" and é.txt`) text)
(spit (in-place "large") (string/repeat text 20000))

(defn- shown
  [x]
  (cond
    (http/upload? x) [(x :filename) (x :content-type) (string (:read x :all))]
    (array? x) (tuple ;(map shown x))
    x))

(def- form
  "The last form that came."
  @{})

(defn- handler
  [req]
  (table/clear form)
  (eachp [name value] (http/form req) (put form name (shown value)))
  {:body "read"})

(defmacro- with-server
  [url & body]
  ~(with [server (,http/server ,handler "127.0.0.1" 0 :max-body 10000000)]
     (def ,url (string "http://127.0.0.1:" (,t/port server) "/"))
     ,;body))

(defn- same-form [expected]
  (t/same expected (table/to-struct form)))

# curl.

(defn- curl
  [& args]
  (def [path] (programs/need "curl"))
  (t/same [0 "read"] (programs/run path "--silent" "--noproxy" "*" "--max-time" "30" ;args)))

(t/test "curl: --data and --data-urlencode"
  (with-server url
    (curl "--data" "a=1" "--data-urlencode" "b=2 & é" "--data" "a=3" url)
    (same-form {"a" ["1" "3"] "b" "2 & é"})))

(t/test "curl: --form with texts and files"
  (with-server url
    (curl "--form" "a=1" "--form" (string "f=@" (in-place "a.txt")) "--form" "a=2;type=text/plain; charset=utf-8"
          "--form" (string "f=@" (in-place "a.txt") ";type=x/y;filename=b") url)
    (same-form {"a" ["1" "2"] "f" [["a.txt" "text/plain" text] ["b" "x/y" text]]})))

(t/test "curl: a name with quotes, and a large file in chunks"
  (with-server url
    (curl "--form" (string "f=@\"" (in-place `with \"quotes\" and é.txt`) "\"") url)
    (same-form {"f" [`with "quotes" and é.txt` "text/plain" text]})
    (curl "--header" "Transfer-Encoding: chunked" "--form" (string "f=@" (in-place "large")) url)
    (same-form {"f" ["large" "application/octet-stream" (string/repeat text 20000)]})))

# Node.

(def- node-program
  ```
  const form = new FormData();
  form.append("a", "1");
  form.append('q"\r\n', "2");
  form.append("f", new Blob(["data\r\n--"], { type: "x/y" }), 'C:\\dir\\n"é%22.txt');
  fetch(process.argv[1], { method: "POST", body: form })
    .then((response) => response.text())
    .then((text) => process.stdout.write(text));
  ```)

(t/test "Node's FormData, which encodes as browsers do"
  (def [node] (programs/need "node"))
  (t/same [0 "function"] (programs/run node "-e" "process.stdout.write(typeof FormData)"))
  (with-server url
    (t/same [0 "read"] (programs/run node "-e" node-program url))
    (same-form {"a" "1" "q\"\r\n" "2" "f" [`n"é".txt` "x/y" "data\r\n--"]})))

# Python.

(def- requests-program
  ```
  import sys, requests

  url = sys.argv[1]
  files = [("f", ("b.txt", b"data", "text/plain")), ("f", ("日本.txt", b"more")), ("g", ('q".txt', open(sys.argv[2], "rb")))]
  print(requests.post(url, data={"a": ["1", "2 3"], "é": "x"}, files=files).text)
  ```)

(defn- run-python
  [env & args]
  (with [process (t/start env ;args)]
    (def status (:wait process))
    (t/wait-until "the end of its output" |(and (process :out-ended) (process :err-ended)))
    [status (string (process :out) (process :err))]))

(t/test-within 120 "Python's requests"
  (def [python env] (python/with-packages "requests==2.32.3"))
  (with-server url
    (t/same [0 "read\n"] (run-python (merge env {"no_proxy" "*"}) python "-c" requests-program url (in-place "a.txt")))
    (same-form {"a" ["1" "2 3"] "é" "x" "f" [["b.txt" "text/plain" "data"] ["日本.txt" nil "more"]]
                "g" [`q".txt` nil text]})))

(defn- hex
  [bytes]
  (if (empty? bytes) "." (string/join (map |(string/format "%02x" $) bytes))))

(defn- list-parts
  "A handler that answers with a line for each part, as test/http/forms.py expects it."
  [req]
  (def out @"")
  (each {:name name :filename filename :body body} (http/parts req)
    (def data @"")
    (each piece body (buffer/push data piece))
    (buffer/push out (hex name) " " (if filename (hex filename) "-") " " (hex data) "\n"))
  {:body out})

(t/test-within 180 "python-multipart and multipart read generated forms as kqnet does"
  (def [python env] (python/with-packages "python-multipart==0.0.20" "multipart==1.2.1"))
  (def count (if (or t/slow? (os/getenv "KQNET_TEST_QUICK")) "200" "1500"))
  (with [server (http/server list-parts "127.0.0.1" 0)]
    (def [status output]
      (run-python env python (string t/project "/test/http/forms.py") (string (t/port server)) count
                  (or (os/getenv "SEED") "1")))
    (t/same 0 status output)
    (print "      " (string/trim output))))

(t/remove place)
(t/finish)
