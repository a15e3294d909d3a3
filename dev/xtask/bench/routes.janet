###
### Measures how long kqnet/http's table of routes takes to find the handler of a request.
###
### Prints the processor time for a request, in nanoseconds. The request is for the last route of the table. Beside it there
### is what a program without `http/routes` may do: try one PEG after the other. `nothing` finds a handler without looking.
### Usage: janet routes.janet kqnet|pegs|nothing ROUTES REQUESTS
###

(defn- show [_] {:status 200 :body ""})

(defn- table-of
  [size]
  (seq [index :range [0 size]] [:get (string "/section-" index "/items/:id") show]))

(defn- kqnet
  [size]
  ((get-in (require "kqnet/http") ['routes :value]) (table-of size)))

(defn- pegs
  "A router as programs write it themselves."
  [size]
  (def compiled
    (seq [index :range [0 size]]
      [(peg/compile ~(* ,(string "/section-" index "/items/") '(some (if-not "/" 1)) -1)) show]))
  (fn [req]
    (var found nil)
    (each [pattern handler] compiled
      (when-let [[id] (peg/match pattern (req :route))]
        (put req :params @{:id id})
        (set found handler)
        (break)))
    (if found (found req) {:status 404 :body ""})))

(defn main
  "Measures a router with so many routes."
  [_ kind size count]
  (def size (scan-number size))
  (def count (scan-number count))
  (def route (string "/section-" (- size 1) "/items/1234"))
  (def router ((case kind "kqnet" kqnet "pegs" pegs "nothing" (fn [_] show)) size))
  (defn request []
    @{:method "GET" :path route :route route :http-version "HTTP/1.1" :headers @{"host" "127.0.0.1"}})
  (unless (= 200 (get (router (request)) :status))
    (errorf "%s found no handler for %s" kind route))
  (def cost-of-table
    (let [start (os/clock :cputime)]
      (repeat count (request))
      (- (os/clock :cputime) start)))
  (def start (os/clock :cputime))
  (repeat count (router (request)))
  (print (/ (* 1e9 (- (os/clock :cputime) start cost-of-table)) count)))
