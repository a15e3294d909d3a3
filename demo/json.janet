###
### Writes JSON, for the scripts of the page.
###

(defn- text [bytes]
  (def escaped
    (peg/replace-all '(set "\"\\\0\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0A\x0B\x0C\x0D\x0E\x0F\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1A\x1B\x1C\x1D\x1E\x1F")
                     |(string/format "\\u%04x" (first $)) bytes))
  (string `"` escaped `"`))

(defn write
  "The JSON of numbers, booleans, nil, texts, arrays, and dictionaries whose keys are texts. Raises an error for anything else."
  [value]
  (case (type value)
    :nil "null"
    :boolean (string value)
    :number (string/format "%.14g" value)
    :string (text value)
    :buffer (text value)
    :array (string "[" (string/join (map write value) ",") "]")
    :tuple (write (array ;value))
    :table (string "{" (string/join (seq [key :in (sorted (keys value))] (string (text key) ":" (write (value key)))) ",") "}")
    :struct (write (merge value))
    (errorf "no JSON for %q" value)))
