// How long work in the core reports and is cancelled.
#pragma once

#include <exception>
#include <functional>

namespace pyadx::ucm {

// Told the share of the work that is done, from the calling thread, many times a second. Returns
// false to cancel. Empty: nobody listens.
using Progress = std::function<bool(double done)>;

class Cancelled : public std::exception {
 public:
  const char* what() const noexcept override { return "cancelled"; }
};

inline void report(const Progress& progress, double done) {
  if (progress && !progress(done)) throw Cancelled();
}

}  // namespace pyadx::ucm
