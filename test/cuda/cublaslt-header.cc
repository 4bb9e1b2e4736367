// The slice of cuBLASLt that native/cuda/cublaslt.h declares, against NVIDIA's own header: compiles, or says which value is another.
#include <cublasLt.h>

#include <type_traits>

#include "../../native/cuda/cublaslt.h"

namespace own = fpdt::cuda::cublaslt;

static_assert(own::kSuccess == CUBLAS_STATUS_SUCCESS && own::kNotSupported == CUBLAS_STATUS_NOT_SUPPORTED && sizeof(own::Status) == sizeof(cublasStatus_t));
static_assert(own::kF32 == CUDA_R_32F && own::kBf16 == CUDA_R_16BF && own::kComputeF32 == CUBLAS_COMPUTE_32F);
static_assert(own::kAsIs == CUBLAS_OP_N && own::kTransposed == CUBLAS_OP_T && sizeof(own::Operation) == sizeof(cublasOperation_t));
static_assert(own::kNothing == CUBLASLT_EPILOGUE_DEFAULT && own::kBias == CUBLASLT_EPILOGUE_BIAS);
static_assert(own::kOperationA == CUBLASLT_MATMUL_DESC_TRANSA && own::kOperationB == CUBLASLT_MATMUL_DESC_TRANSB);
static_assert(own::kEpilogue == CUBLASLT_MATMUL_DESC_EPILOGUE && own::kBiasPointer == CUBLASLT_MATMUL_DESC_BIAS_POINTER);
static_assert(own::kMostWorkspace == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES && own::kReductions == CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK);
static_assert(own::kAlignmentA == CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES && own::kAlignmentB == CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES);
static_assert(own::kAlignmentC == CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES && own::kAlignmentD == CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES);
static_assert(own::kReduceInF32 == CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE);

static_assert(sizeof(own::Algorithm) == sizeof(cublasLtMatmulAlgo_t) && sizeof(own::Choice) == sizeof(cublasLtMatmulHeuristicResult_t));
static_assert(offsetof(own::Choice, workspace_bytes) == offsetof(cublasLtMatmulHeuristicResult_t, workspaceSize));
static_assert(offsetof(own::Choice, state) == offsetof(cublasLtMatmulHeuristicResult_t, state) && offsetof(own::Choice, waves) == offsetof(cublasLtMatmulHeuristicResult_t, wavesCount));

// As many arguments of the same sizes and kinds: handles are pointers on both sides, enumerations are ints.
template <class A, class B>
constexpr bool kAlike = sizeof(A) == sizeof(B) && std::is_pointer_v<A> == std::is_pointer_v<B>;
template <class A, class B>
constexpr bool kSameCall = false;
template <class A, class... As, class B, class... Bs>
  requires(sizeof...(As) == sizeof...(Bs))
constexpr bool kSameCall<A (*)(As...), B (*)(Bs...)> = kAlike<A, B> && (kAlike<As, Bs> && ...);

#define SAME(name) static_assert(kSameCall<decltype(own::Library::name), decltype(&cublasLt##name)>, #name)
SAME(GetStatusString);
SAME(Create);
SAME(Destroy);
SAME(MatmulDescCreate);
SAME(MatmulDescDestroy);
SAME(MatmulDescSetAttribute);
SAME(MatrixLayoutCreate);
SAME(MatrixLayoutDestroy);
SAME(MatmulPreferenceCreate);
SAME(MatmulPreferenceDestroy);
SAME(MatmulPreferenceSetAttribute);
SAME(MatmulAlgoGetHeuristic);
SAME(Matmul);
static_assert(std::is_same_v<decltype(own::Library::GetVersion), decltype(&cublasLtGetVersion)>);
