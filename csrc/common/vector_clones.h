// One loop compiled for several vector widths, chosen when the library is loaded.
//
// A wheel must run on every x86-64 machine, and some have 128-bit vectors only. Functions marked
// PYADX_VECTOR_CLONES are also compiled for AVX2 and AVX-512, where compiler and C library can
// choose between the versions (GCC and Clang with glibc). The build switches off contraction into
// FMA, so all versions give the same bits.
#pragma once

#if defined(__x86_64__) && defined(__gnu_linux__) && !defined(__SANITIZE_ADDRESS__) && \
    !defined(__SANITIZE_THREAD__)
#define PYADX_VECTOR_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define PYADX_VECTOR_CLONES
#endif
