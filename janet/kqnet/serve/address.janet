###
### The addresses on the command line of kqnet-serve.
###

(def- grammar
  (peg/compile
    ~{:port (/ '(between 1 5 :d) ,scan-number)
      :name '(some (if-not (set ":[]/") 1))
      :main (* (+ (* "unix:" (constant :unix) '(some 1))
                  (* "[" '(some (if-not "]" 1)) "]:" :port)
                  (* :name ":" :port)
                  (* (? ":") (constant "127.0.0.1") :port))
               -1)}))

(defn parse
  ``Returns the host and the port of an address: "127.0.0.1:8000", "localhost:8000", "[::1]:8000", "8000" for that port of
  127.0.0.1, or "unix:/run/app.sock", for which the host is :unix and the port a path. Raises an error for anything else.``
  [text]
  (def found (peg/match grammar text))
  (unless (and found (or (= :unix (first found)) (<= (found 1) 65535)))
    (error (string "an address is HOST:PORT, PORT or unix:PATH, not " (string/format "%q" text))))
  (tuple ;found))
