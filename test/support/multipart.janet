###
### Makes the bodies of forms with parts, for the tests.
###

(def boundary "----WebKitFormBoundaryx7")

(def content-type
  "The header of a request with such a body."
  (string "Content-Type: multipart/form-data; boundary=" boundary))

(defn part
  "A part, up to the CRLF after its data. With a filename it is a file of the type text/plain."
  [name data &opt filename]
  (string "--" boundary "\r\nContent-Disposition: form-data; name=\"" name "\""
          (if filename (string "; filename=\"" filename "\"\r\nContent-Type: text/plain") "")
          "\r\n\r\n" data "\r\n"))

(defn body
  "A body with these parts."
  [& parts]
  (string ;parts "--" boundary "--\r\n"))
