###
### Runs the program of a worker of kqnet-serve as `janet -l MODULE… PROGRAM ARGUMENT…` does. The arguments are MODULE… -- PROGRAM
### ARGUMENT…
###
### There are two differences. What the worker inherits belongs to no process that the program starts, from the first line of the
### program on. And the program is read as a whole, so that a file that is written anew does not change a worker that runs.
###

# When it is loaded, it takes over what the supervisor passes on.
(import ../_native :as native)
(import ./loaded)

(defn- run-file
  "Evaluates a program, and ends the process after an error, as core's `dofile` does with :exit."
  [path env]
  (var text (slurp path))
  (put env :source path)
  (run-context {:env env
                :source path
                :chunks (fn [buf _]
                          (when text (buffer/push buf text))
                          (set text nil))
                :on-parse-error (fn [& args]
                                  (bad-parse ;args)
                                  (os/exit 1))
                :on-compile-error (fn [& args]
                                    (bad-compile ;args)
                                    (os/exit 1))
                :on-status (fn [fiber value]
                             (unless (= :dead (fiber/status fiber))
                               (debug/stacktrace fiber value "")
                               (eflush)
                               (os/exit 1)))}))

(defn- value-of
  "Returns the value of a name in an environment."
  [env name]
  (when-let [entry (in env name)]
    (or (entry :value) (in (or (entry :ref) []) 0))))

(defn main [_ & args]
  (def end (find-index |(= "--" $) args))
  (def modules (slice args 0 end))
  (def command (array/slice args (inc end)))
  # This is the environment in which janet itself would be.
  (fiber/setenv (fiber/current) root-env)
  (setdyn :kqnet/inheritance (native/inheritance))
  (setdyn *args* @[;(mapcat |["-l" $] modules) ;command])
  (loaded/start)
  (each module modules (import* module :prefix "" :exit true))
  (def env (make-env))
  (put env *args* command)
  (run-file (first command) env)
  (fiber/setenv (fiber/current) env)
  (when-let [program-main (value-of env 'main)]
    (program-main ;command))
  # `http/serve-forever` has drained this worker, and nothing else that still runs should keep it.
  (when (get-in (native/worker-state) [:worker :drained])
    (os/exit 0)))
