// Progress reports of long work in the core, and its cancellation.
#pragma once

#include <exception>
#include <functional>

namespace pyadx::ucm {

// Called many times a second, from the calling thread, with the share of the work that is done (0
// to 1). Returns false to cancel the work. May be empty.
using Progress = std::function<bool(double done)>;

class Cancelled : public std::exception {
 public:
  const char* what() const noexcept override { return "cancelled"; }
};

inline void report(const Progress& progress, double done) {
  if (progress && !progress(done)) throw Cancelled();
}

}  // namespace pyadx::ucm
