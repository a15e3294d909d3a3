###
### Runs a snippet of the docs.
###
### Usage: janet snippet.janet FOLDER, in which snippet.janet is run. It prints "evaluated" once all of the snippet was
### evaluated, and "serving" once it serves.
###

(import kqnet)

(defn main
  [_ folder]
  (def say |(do (print $) (flush)))
  (ev/go (fn []
           (while (empty? (kqnet/stats)) (ev/sleep 0.002))
           (say "serving")))
  (os/cd folder)
  (try (dofile "snippet.janet" :env (make-env))
    ([err fib]
      (debug/stacktrace fib err "")
      (os/exit 1)))
  (say "evaluated"))
