// Python's lock, given back while kernels run.
#pragma once

#include <Python.h>
#include <unistd.h>

namespace vidssl {

// Gives Python's lock back, and takes it again at the end of the scope. Python 3.13 and older end a daemon thread that
// asks for the lock while the interpreter shuts down: they unwind its stack, which ends the process with
// std::terminate at the first destructor, this one. Here the thread sleeps until the process has ended, as it does in
// Python 3.14.
class WithoutLock {
 public:
  WithoutLock() : thread_(PyEval_SaveThread()) {}
  WithoutLock(const WithoutLock&) = delete;
  WithoutLock& operator=(const WithoutLock&) = delete;
  ~WithoutLock() {
    try {
      PyEval_RestoreThread(thread_);
    } catch (...) {  // the unwinding: C throws nothing
      for (;;) pause();
    }
  }

 private:
  PyThreadState* thread_;
};

}  // namespace vidssl
