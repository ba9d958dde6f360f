// Progress callbacks and Ctrl-C for the core, which runs without the GIL.
#pragma once

#include <pybind11/pybind11.h>

#include <chrono>

#include "ucm/progress.h"

namespace pyadx::bindings {

// Reports the progress of one call to a Python callable, or to nobody if it is None. At most twenty
// times a second it takes the GIL and calls it with the share of the work that is done. An
// exception in the callable, or a pending signal such as Ctrl-C, cancels the work. `run` does the
// work without the GIL and raises the Python error afterwards.
class Listener {
 public:
  explicit Listener(pybind11::object callback) : callback_(std::move(callback)) {}

  template <typename Work>
  void run(Work&& work) {
    try {
      const pybind11::gil_scoped_release released;
      work(ucm::Progress([this](double done) { return proceed(done); }));
    } catch (const ucm::Cancelled&) {
      throw pybind11::error_already_set();
    }
  }

 private:
  bool proceed(double done) {
    const auto now = std::chrono::steady_clock::now();
    if (now - last_ < std::chrono::milliseconds(50)) return true;
    last_ = now;
    const pybind11::gil_scoped_acquire held;
    if (PyErr_CheckSignals() != 0) return false;
    if (callback_.is_none()) return true;
    try {
      callback_(done);
      return true;
    } catch (pybind11::error_already_set& error) {
      error.restore();
      return false;
    }
  }

  pybind11::object callback_;
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
};

}  // namespace pyadx::bindings
