#include "memory_log.h"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <set>
#include <unordered_map>
#include <vector>

namespace emulation {
namespace {

constexpr unsigned kWarp = 32, kMostThreads = 1024, kBanks = 32;
constexpr int kNobody = -1, kSeveral = -2;

struct Word {
  uint64_t written_in = 0, read_in = 0;  // intervals
  int writer = kNobody, reader = kNobody;
  bool pending = false, written = false;
};
struct Access {
  uintptr_t at;
  int floats;
  bool global, active;
};
struct Copy {
  float *to, values[4];
  int floats;
};
struct Product {
  float* sums;
  uint32_t a[4], b[2];
};

std::unordered_map<uintptr_t, Word> words;
std::vector<Access> accesses[kMostThreads];
std::vector<Copy> copies[kMostThreads];
std::vector<Product> products[kMostThreads];
uint64_t interval = 1;
std::string finding;
uint64_t sectors = 0, bytes = 0;

void find(const char* what) {
  if (finding.empty()) finding = what;
}

int self() { return static_cast<int>(threadIdx.x); }

void note_write(Word& word) {
  if (word.written_in == interval && word.writer != self()) find("two threads write a word");
  if (word.read_in == interval && word.reader != self()) find("a word is written that others read");
  word.written_in = interval, word.writer = self(), word.written = true;
}

// Words of one bank that the lanes of one phase ask for, at most.
void check_banks(const std::vector<const Access*>& lanes) {
  const size_t phase = kWarp / static_cast<size_t>(lanes.front()->floats);
  for (size_t first = 0; first < lanes.size(); first += phase) {
    std::set<uintptr_t> banks[kBanks];
    for (size_t lane = first; lane < std::min(first + phase, lanes.size()); ++lane) {
      for (int i = 0; i < lanes[lane]->floats; ++i) {
        const uintptr_t word = lanes[lane]->at / 4 + static_cast<uintptr_t>(i);
        banks[word % kBanks].insert(word);
      }
    }
    for (const auto& bank : banks) {
      if (bank.size() > 2) find("more than two words of one bank");
    }
  }
}

void count_sectors(const std::vector<const Access*>& lanes) {
  std::set<uintptr_t> touched;
  for (const Access* lane : lanes) {
    if (!lane->active) continue;
    touched.insert(lane->at / 32);
    bytes += 4 * static_cast<uint64_t>(lane->floats);
  }
  sectors += touched.size();
}

void check_accesses() {
  for (unsigned first = 0; first < blockDim.x; first += kWarp) {
    const unsigned last = std::min(first + kWarp, blockDim.x);
    for (size_t n = 0; n < accesses[first].size(); ++n) {
      std::vector<const Access*> lanes;
      for (unsigned thread = first; thread < last; ++thread) {
        if (n < accesses[thread].size()) lanes.push_back(&accesses[thread][n]);
      }
      const Access& own = *lanes.front();
      const bool together = lanes.size() == last - first &&
                            std::all_of(lanes.begin(), lanes.end(), [&](const Access* lane) {
                              return lane->floats == own.floats && lane->global == own.global;
                            });
      if (!together) return find("lanes of a warp part at an access");
      own.global ? count_sectors(lanes) : check_banks(lanes);
    }
    for (unsigned thread = first; thread < last; ++thread) accesses[thread].clear();
  }
}

float as_float(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

// Tensor cores cut digits off; how many more than 24 they keep until then is not documented.
float toward_zero(double exact) {
  const float nearest = static_cast<float>(exact);
  if (!std::isfinite(nearest) || std::fabs(static_cast<double>(nearest)) <= std::fabs(exact)) {
    return nearest;
  }
  return std::nextafter(nearest, 0.0f);
}

}  // namespace

void add_products(float* sums, const uint32_t* a, const uint32_t* b) {
  Product product{sums, {a[0], a[1], a[2], a[3]}, {b[0], b[1]}};
  products[threadIdx.x].push_back(product);
}

void finish_products() {
  wait_for_warp();
  const unsigned lane = threadIdx.x % kWarp, first = threadIdx.x - lane;
  for (size_t n = 0; n < products[threadIdx.x].size(); ++n) {
    for (unsigned i = 0; i < 4; ++i) {
      const unsigned row = lane / 4 + i / 2 * 8, column = lane % 4 * 2 + i % 2;
      double sum = products[threadIdx.x][n].sums[i];
      for (unsigned k = 0; k < 8; ++k) {
        const Product& left = products[first + row % 8 * 4 + k % 4][n];
        const Product& right = products[first + column * 4 + k % 4][n];
        sum += static_cast<double>(as_float(left.a[row / 8 + k / 4 * 2])) *
               static_cast<double>(as_float(right.b[k / 4]));
      }
      products[threadIdx.x][n].sums[i] = toward_zero(sum);
    }
  }
  wait_for_warp();
  products[threadIdx.x].clear();
}

void copy_to_shared(float* to, const float* from, int floats, bool wanted) {
  Copy copy{to, {}, floats};
  for (int i = 0; i < floats; ++i) {
    if (wanted) copy.values[i] = from[i];
    Word& word = words[reinterpret_cast<uintptr_t>(to + i)];
    note_write(word);
    word.pending = true;
    to[i] = NAN;
  }
  copies[threadIdx.x].push_back(copy);
  accesses[threadIdx.x].push_back({reinterpret_cast<uintptr_t>(from), floats, true, wanted});
  accesses[threadIdx.x].push_back({reinterpret_cast<uintptr_t>(to), floats, false, true});
}

void wait_for_copies() {
  for (const Copy& copy : copies[threadIdx.x]) {
    for (int i = 0; i < copy.floats; ++i) {
      Word& word = words[reinterpret_cast<uintptr_t>(copy.to + i)];
      note_write(word);
      word.pending = false;
      copy.to[i] = copy.values[i];
    }
  }
  copies[threadIdx.x].clear();
}

float load_shared(const float* from) {
  Word& word = words[reinterpret_cast<uintptr_t>(from)];
  if (!word.written) find("a word is read before it is written");
  if (word.pending) find("a word is read while a copy into it is under way");
  if (word.written_in == interval && word.writer != self()) {
    find("a word is read that another thread writes before the next barrier");
  }
  word.reader = word.read_in == interval && word.reader != self() ? kSeveral : self();
  word.read_in = interval;
  accesses[threadIdx.x].push_back({reinterpret_cast<uintptr_t>(from), 1, false, true});
  return *from;
}

void begin_block() { ++interval; }

void pass_barrier() {
  check_accesses();
  ++interval;
}

// What a block leaves in shared memory is poison for the next one.
void end_block() {
  check_accesses();
  for (auto& [at, word] : words) *reinterpret_cast<float*>(at) = NAN;
  words.clear();
}

std::string take_finding() {
  std::string found;
  found.swap(finding);
  return found;
}

}  // namespace emulation

extern "C" {
// Bytes of all sectors that logged global reads touched, and bytes that they asked for.
__attribute__((visibility("default"))) uint64_t emulation_bytes_moved() {
  return 32 * emulation::sectors;
}
__attribute__((visibility("default"))) uint64_t emulation_bytes_asked() { return emulation::bytes; }
}
