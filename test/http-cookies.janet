###
### Cookies and redirects: what is sent, what is refused because browsers would drop it, and what a client cannot cause.
###

(import ./support :as t)
(import ./support/http :as h)
(import ./support/programs)
(t/need-spork)
(import kqnet/http)

(def- host "127.0.0.1")

(defn- line
  "The Set-Cookie line of a cookie."
  [name value & options]
  (get-in (http/set-cookie {} name value ;options) [:headers "Set-Cookie"]))

(defn- refusal [f & args] (t/raised |(f ;args)))

# Setting.

(t/test "a cookie has safe defaults, and works on http://localhost"
  (t/same "a=b; Path=/; HttpOnly; SameSite=Lax" (line "a" "b"))
  (t/same "a=; Path=/; HttpOnly; SameSite=Lax" (line "a" "")))

(t/test "each attribute is written as browsers read it"
  (each [expected & options]
    [["a=b; Path=/x; HttpOnly; SameSite=Lax" :path "/x"]
     ["a=b; Path=/; Domain=example.com; HttpOnly; SameSite=Lax" :domain "example.com"]
     ["a=b; Path=/; Max-Age=60; HttpOnly; SameSite=Lax" :max-age 60]
     ["a=b; Path=/; Max-Age=0; HttpOnly; SameSite=Lax" :max-age 0]
     ["a=b; Path=/; Max-Age=34560000000; HttpOnly; SameSite=Lax" :max-age 34560000000]
     ["a=b; Path=/; Expires=Sun, 06 Nov 1994 08:49:37 GMT; HttpOnly; SameSite=Lax" :expires 784111777]
     ["a=b; Path=/; Expires=Thu, 29 Feb 2024 23:59:59 GMT; HttpOnly; SameSite=Lax" :expires 1709251199.75]
     ["a=b; Path=/; Secure; HttpOnly; SameSite=Lax" :secure true]
     ["a=b; Path=/; HttpOnly; SameSite=Lax" :secure false]
     ["a=b; Path=/; SameSite=Lax" :http-only false]
     ["a=b; Path=/; HttpOnly; SameSite=Strict" :same-site :strict]
     ["a=b; Path=/; Secure; HttpOnly; SameSite=None" :same-site :none]
     ["a=b; Path=/; Secure; HttpOnly; SameSite=None; Partitioned" :same-site :none :partitioned true]
     ["a=b; Path=/; HttpOnly; SameSite=Lax" :path nil :max-age nil :secure nil]]
    (t/same expected (line "a" "b" ;options) (string/format "%q" options))))

(t/test "a prefix of the name brings what it needs"
  (t/same "__Host-a=b; Path=/; Secure; HttpOnly; SameSite=Lax" (line "__Host-a" "b"))
  (t/same "__Secure-a=b; Path=/x; Domain=a.b; Secure; HttpOnly; SameSite=Lax" (line "__Secure-a" "b" :path "/x" :domain "a.b"))
  (t/same "__secure-a=b; Path=/; Secure; SameSite=Lax" (line "__secure-a" "b" :http-only false)))

(t/test "what browsers would drop is refused"
  (each [expected name & options]
    [["the prefix of its name needs :secure" "__Host-a" :secure false]
     ["the prefix of its name needs :secure" "__HOST-a" :secure false]
     ["the prefix of its name needs :secure" "__Secure-a" :secure false]
     [`the prefix of its name needs the :path "/"` "__Host-a" :path "/x"]
     ["the prefix of its name allows no :domain" "__Host-a" :domain "a.b"]
     ["the prefix of its name needs :http-only" "__Http-a" :http-only false]
     ["the prefix of its name allows no :domain" "__Host-Http-a" :domain "a.b"]
     [":same-site :none needs :secure" "a" :same-site :none :secure false]
     [":partitioned needs :secure" "a" :partitioned true :secure false]]
    (t/same (string/format "kqnet/http/set-cookie: %s, or browsers would drop the cookie %q" expected name)
            (refusal http/set-cookie {} name "b" ;options)))
  (t/check (string/find "more than 4096 bytes" (refusal http/set-cookie {} "a" (string/repeat "x" 4096))) "size")
  (t/check (string? (line "a" (string/repeat "x" 4095))) "the largest"))

(t/test "values that a cookie cannot have are refused, with advice and without showing a secret"
  (each value ["a b" "a;b" "a,b" `a"b` `a\b` "a\r\nSet-Cookie: c=d" "a\0" "é" "a\x7F" `"` `"a` `"a"b"` "\t"]
    (def got (refusal http/set-cookie {} "a" (string "secret" value)))
    (t/check (string/find "base64" got) got)
    (t/check (not (string/find "secret" got)) got)
    (t/check (not (string/find "\n" got)) got))
  (t/same `kqnet/http/set-cookie: the value of the cookie "a" must be a string, got 7` (refusal http/set-cookie {} "a" 7))
  (t/same `kqnet/http/set-cookie: the value of the cookie "a" must be a string, got nil` (refusal http/set-cookie {} "a" nil))
  (each value ["" `"quoted"` `""` "Zm9vYg==" "a=b&c=d" "%20" "!#$%&'()*+-./:<=>?@[]^_`{|}~"]
    (t/check (string/has-prefix? (string "a=" value ";") (line "a" value)) value)))

(t/test "names that a cookie cannot have are refused"
  (each name ["" "a b" "a=b" "a;b" "a," "é" "a\n" "(a)" nil 7]
    (t/check (string/has-prefix? "kqnet/http/set-cookie: the name of a cookie must be" (refusal http/set-cookie {} name "b"))
             name)))

(t/test "wrong attributes are refused"
  (each [name & values]
    [[:path "" "x" "/a;b" "/a b" "/é" "/a\n" 7 (string "/" (string/repeat "x" 1024))]
     [:domain "" "a b" "a;b" "localhost:8000" "a..b" "-a" "a-" "http://a" 7 "é"]
     [:max-age -1 1.5 math/inf math/nan "60"]
     [:expires -1 math/inf math/nan "now" 253402300800]
     [:secure 1 :true]
     [:http-only "yes"]
     [:same-site :lex "Lax" true]
     [:partitioned 1]]
    (each value values
      (def got (refusal http/set-cookie {} "a" "b" name value))
      (t/check (string/has-prefix? (string/format "kqnet/http/set-cookie: %q must be " name) got) (string/format "%q %q" name value))))
  (each domain ["example.com" ".example.com" "localhost" "a-b.c" "127.0.0.1" "xn--bcher-kva.example"]
    (t/check (line "a" "b" :domain domain) domain))
  (t/check (string/has-prefix? "kqnet/http/set-cookie: unknown option :samesite; the options are :path"
                               (refusal http/set-cookie {} "a" "b" :samesite :lax)) "an unknown option"))

(t/test "a cookie is added to those that are there, and the response that was given stays as it was"
  (def defaults "; Path=/; HttpOnly; SameSite=Lax")
  (each [headers expected]
    [[nil {"Set-Cookie" (string "n=1" defaults)}]
     [{} {"Set-Cookie" (string "n=1" defaults)}]
     [{"X" "y"} {"X" "y" "Set-Cookie" (string "n=1" defaults)}]
     [{"Set-Cookie" "a=1"} {"Set-Cookie" ["a=1" (string "n=1" defaults)]}]
     [{"set-cookie" ["a=1" "b=2"]} {"set-cookie" ["a=1" "b=2" (string "n=1" defaults)]}]
     [@{"SET-COOKIE" @["a=1"]} {"SET-COOKIE" ["a=1" (string "n=1" defaults)]}]]
    (each response [{:status 201 :headers headers :body "x"} @{:status 201 :headers headers :body "x"}]
      (def before (string/format "%q" response))
      (t/same @{:status 201 :body "x" :headers (merge expected)} (http/set-cookie response "n" "1"))
      (t/same before (string/format "%q" response))))
  (def shared @{:status 200 :headers @{"Set-Cookie" @["a=1"]}})
  (def [one two] [(http/set-cookie shared "n" "1") (http/set-cookie shared "n" "2")])
  (t/same [["a=1" (string "n=1" defaults)] ["a=1" (string "n=2" defaults)] @["a=1"]]
          (map |(get-in $ [:headers "Set-Cookie"]) [one two shared])))

(t/test "what is inherited from a prototype stays"
  (def base @{:status 404 :headers @{"X" "y"}})
  (def response (http/set-cookie (table/setproto @{:body "b"} base) "n" "1"))
  (t/same [404 "b" "y"] [(response :status) (response :body) (get-in response [:headers "X"])]))

(t/test "something that is not a response is refused"
  (each [expected response]
    [["the response must be a table or a struct, got nil" nil]
     [`the response must be a table or a struct, got "text"` "text"]
     ["the :headers of the response must be a table or a struct, got 5" {:headers 5}]]
    (t/same (string "kqnet/http/set-cookie: " expected) (refusal http/set-cookie response "a" "b")))
  # The arguments in another order.
  (t/same `kqnet/http/set-cookie: the response must be a table or a struct, got "a"` (refusal http/set-cookie "a" "b" {}))
  (t/same `kqnet/http/delete-cookie: the response must be a table or a struct, got "a"` (refusal http/delete-cookie "a" {}))
  (t/same "kqnet/http/cookie: expected a request, got nil" (refusal http/cookie nil "a")))

(t/test "a cookie is deleted by its name, path and domain"
  (def gone "Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT")
  (defn deleted [name & options] (get-in (http/delete-cookie {} name ;options) [:headers "Set-Cookie"]))
  (t/same (string "a=; Path=/; " gone "; HttpOnly; SameSite=Lax") (deleted "a"))
  (t/same (string "a=; Path=/x; Domain=a.b; " gone "; HttpOnly; SameSite=Lax") (deleted "a" :path "/x" :domain "a.b"))
  (t/same (string "__Host-a=; Path=/; " gone "; Secure; HttpOnly; SameSite=Lax") (deleted "__Host-a"))
  (t/check (string/has-prefix? "kqnet/http/delete-cookie: unknown option :max-age" (refusal http/delete-cookie {} "a" :max-age 1))
           "an option that it does not have"))

# Reading.

(defn- cookie [header name] (http/cookie {:headers {"cookie" header}} name))

(t/test "a cookie is read by its name"
  (each [header name expected]
    [["a=1" "a" "1"]
     ["a=1; b=2" "b" "2"]
     ["a=1;b=2" "b" "2"]
     ["a=1 ;\t b=2 " "b" "2"]
     ["a=" "a" ""]
     ["a=; b=2" "b" "2"]
     ["a=Zm9vYg==; b=2" "a" "Zm9vYg=="]
     ["a=Zm9vYg==; b=2" "b" "2"]
     [`a="x y"` "a" `"x y"`]
     ["a=1; a=2" "a" "1"]
     ["aa=1; a=2" "a" "2"]
     ["a; b=2" "a" nil]
     ["a; b=2" "b" "2"]
     ["=x; b=2" "b" "2"]
     [";;; ;b=2;" "b" "2"]
     ["A=1" "a" nil]
     ["a=%20+é" "a" "%20+é"]
     ["" "a" nil]
     [["a=1" "b=2"] "b" "2"]]
    (t/same [expected] [(cookie header name)] (string/format "%q" header)))
  (t/same [nil] [(http/cookie {:headers {}} "a")])
  (each name ["" "a=b" nil :]
    (t/check (string/has-prefix? "kqnet/http/cookie: the name of a cookie must be" (refusal http/cookie {:headers {}} name))
             (string/format "%q" name))))

(t/test "a name is not part of a pattern"
  (t/same [nil "1"] [(cookie "abc=1" "a.c") (cookie "a*c=1" "a*c")]))

# Redirecting.

(defn- location [& args] (get-in (http/redirect ;args) [:headers "Location"]))

(t/test "a redirect is 303, or what is asked for"
  (t/same {:status 303 :headers {"Location" "/a"}} (http/redirect "/a"))
  (each status [301 302 303 307 308] (t/same status ((http/redirect "/a" status) :status)))
  (each status [200 300 304 404 "301" :permanent true]
    (t/check (string? (refusal http/redirect "/a" status)) status))
  (t/same "kqnet/http/redirect: the status must be 301, 302, 303, 307 or 308, got 304" (refusal http/redirect "/a" 304))
  (t/same `kqnet/http/redirect: the location comes first, and then the status: (http/redirect "/a" 302)`
          (refusal http/redirect 302 "/a")))

(t/test "a location may be a path, relative, or a URL"
  (each to ["/" "/a/b?c=d&e=f#g" "b" "../b" "./b" "?c=d" "#g" "https://example.com/a?b=c" "http://[::1]:8000/" "app://x"
            "mailto:a@b.example" "/a:b" "a%20b" "/%E2%82%AC" "/!$&'()*+,;=:@-._~"]
    (t/same to (location to))))

(t/test "what a URL cannot have is encoded, so that no header can be injected"
  (each [to expected]
    [["/a b" "/a%20b"]
     ["/a\r\nSet-Cookie: x=y" "/a%0D%0ASet-Cookie:%20x=y"]
     ["/\0" "/%00"]
     ["/é" "/%C3%A9"]
     ["/\xFF" "/%FF"]
     [`/"<>^{|}` "/%22%3C%3E%5E%7B%7C%7D"]
     ["/100%" "/100%25"]
     ["/%zz%4" "/%25zz%254"]
     ["/%41" "/%41"]
     ["/\x7F" "/%7F"]]
    (t/same expected (location to) to)))

(t/test "a path does not lead to another host"
  (each [to expected]
    [["//evil.example" "/evil.example"]
     ["///evil.example/x" "/evil.example/x"]
     ["//" "/"]
     [`/\evil.example` "/%5Cevil.example"]
     [`\\evil.example` "%5C%5Cevil.example"]
     ["/\t/evil.example" "/%09/evil.example"]
     ["\n//evil.example" "%0A//evil.example"]
     [" https://evil.example" "%20https://evil.example"]
     ["ht\ntps://evil.example" "ht%0Atps://evil.example"]]
    (t/same expected (location to) to)
    (t/same expected (location to :fallback "/f") to)))

(t/test "with a fallback, a client cannot choose another host"
  (each to ["https://evil.example" "HTTPS:evil.example" "http:/evil.example" "javascript:alert(1)" "data:text/html,x" "x:"
            `https:\\evil.example` "" nil true ["/a" "/b"] 7]
    (t/same "/f" (location to :fallback "/f") (string/format "%q" to))
    (t/same ["/f" 302] [(location to 302 :fallback "/f") ((http/redirect to 302 :fallback "/f") :status)]))
  (each to ["/a" "b" "?x=https://a" "/x:y" "1:2" "%3A"]
    (t/same to (location to :fallback "/f")))
  (t/same "/own%20page" (location nil :fallback "//own page"))
  (t/same "https://own.example/" (location "https://other.example" :fallback "https://own.example/")))

(t/test "the browser's own rules agree that these locations stay on the host"
  (def [node] (programs/need "node"))
  (def paths (seq [a :in ["" "/" "//" `\` `/\` "/\t/" "\t//" " //" "\x01//" "/.//" "/..//" ".//" "///" "/%2F/" "https:" "ht\ttps://" "/@" "@" "?"]
                   b :in ["evil.example" "/evil.example" `\evil.example` "@evil.example" "evil.example:80/x" "//evil.example"]]
               (string a b)))
  (def script
    "for (const l of JSON.parse(process.argv[1])) { const u = new URL(l, 'http://host.example/a/b'); if (u.host != 'host.example') console.log(l) }")
  (def locations (map |(location $ :fallback "/f") paths))
  (def json (string "[" (string/join (map |(string `"` (string/replace-all `\` `\\` $) `"`) locations) ",") "]"))
  (t/same [0 ""] (programs/run node "-e" script json)))

(t/test "without a fallback, a location must be a string that is not empty"
  (each to ["" nil 7 true]
    (t/same (string/format "kqnet/http/redirect: the location must be a string that is not empty, got %q" to)
            (refusal http/redirect to)))
  (each wrong [7 "" true]
    (t/check (string/has-prefix? "kqnet/http/redirect: :fallback must be " (refusal http/redirect "/" :fallback wrong)) wrong)))

# Through a server.

(t/test "cookies and redirects reach the client, and come back"
  (defn handler [req]
    (case (req :route)
      "/in" (-> (http/redirect (get-in req [:query "next"]) :fallback "/home")
                (http/set-cookie "__Host-id" "Zm9vYg==" :max-age 60)
                (http/set-cookie "theme" "dark" :http-only false))
      {:body (string (http/cookie req "__Host-id") " " (http/cookie req "theme"))}))
  (with [server (http/server handler host 0)]
    (def {:status status :headers headers :body body} (h/fetch server "GET" "/in?next=%2Fa%0d%0ab"))
    (t/same [303 "/a%0D%0Ab" ""] [status (headers "location") body])
    (t/same ["__Host-id=Zm9vYg==; Path=/; Max-Age=60; Secure; HttpOnly; SameSite=Lax" "theme=dark; Path=/; SameSite=Lax"]
            (headers "set-cookie"))
    (each query ["" "?next" "?next=" "?next=https://evil.example" "?next=/a&next=/b"]
      (def {:status status :headers headers} (h/fetch server "GET" (string "/in" query)))
      (t/same [303 "/home"] [status (headers "location")] query))
    (t/same "Zm9vYg== dark" ((h/fetch server "GET" "/" ["Cookie: __Host-id=Zm9vYg==" "Cookie: theme=dark"]) :body))))

(t/test "Python's cookies read what is set, and are read"
  (def [python] (programs/need "python3"))
  (def script ```
import sys
from http.cookies import SimpleCookie
jar = SimpleCookie(sys.argv[1])
m = jar["id"]
print(m.value, m["path"], m["domain"], m["max-age"], m["secure"], m["httponly"], m["samesite"], sep="|")
print("; ".join(f"{k}={v.coded_value}" for k, v in SimpleCookie({"x": "1", "id": "a=b c"}).items()))
```)
  (def [status out]
    (programs/run python "-c" script (line "id" "a=b==" :domain "example.com" :path "/x" :max-age 5 :secure true)))
  (t/same 0 status out)
  (def [first-line second-line] (string/split "\n" out))
  (t/same "a=b==|/x|example.com|5|True|True|Lax" first-line)
  (t/same `"a=b c"` (cookie second-line "id")))

(t/finish)
