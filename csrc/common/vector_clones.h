// One loop compiled for several vector widths, chosen when the library is loaded.
//
// A wheel must run on every x86-64 machine, whose common denominator is 128-bit vectors. Functions
// marked PYADX_VECTOR_CLONES are also compiled for AVX2 and AVX-512 where compiler and C library
// can choose between them (GCC and Clang with glibc). Without contraction into FMA, which the build
// switches off, all of them give the same bits.
#pragma once

#if defined(__x86_64__) && defined(__gnu_linux__) && !defined(__SANITIZE_ADDRESS__) && \
    !defined(__SANITIZE_THREAD__)
#define PYADX_VECTOR_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define PYADX_VECTOR_CLONES
#endif
