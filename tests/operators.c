/* A library of custom operators, without ONNX Runtime's headers: one operator, tests:Times, y = FACTOR * x for FP32.
 *
 * OrtApi is a table of functions whose order never changes, only its end grows; below are the places that we need.
 * OrtCustomOp is a table that the library fills; `version` says how much of it there is. */
#include <stddef.h>
#include <stdint.h>

#ifndef FACTOR
#define FACTOR 2.0f
#endif

enum {
  CREATE_DOMAIN = 26,
  ADD_OPERATOR = 27,
  ADD_DOMAIN = 28,
  TENSOR_DATA = 51,
  RANK = 61,
  DIMENSIONS = 62,
  ELEMENTS = 64,
  SHAPE_OF = 65,
  INPUT = 90,
  OUTPUT = 91,
  RELEASE_SHAPE = 99,
};

enum { VERSION = 8, FLOAT = 1, REQUIRED = 0, MOST_DIMENSIONS = 8 };

typedef void *(*function)();
typedef struct {
  const function *(*api)(uint32_t version);
} base;

static const function *api;

static void *create_kernel(const void *self, const void *given, const void *info) { return (void *)self; }
static const char *name(const void *self) { return "Times"; }
static const char *provider(const void *self) { return NULL; }
static int type(const void *self, size_t index) { return FLOAT; }
static size_t one(const void *self) { return 1; }
static void destroy(void *kernel) {}
static int characteristic(const void *self, size_t index) { return REQUIRED; }

static void compute(void *kernel, void *context) {
  void *input, *shape, *output;
  float *x, *y;
  size_t rank, elements;
  int64_t dimensions[MOST_DIMENSIONS];
  api[INPUT](context, (size_t)0, &input);
  api[SHAPE_OF](input, &shape);
  api[RANK](shape, &rank);
  api[DIMENSIONS](shape, dimensions, rank);
  api[ELEMENTS](shape, &elements);
  api[RELEASE_SHAPE](shape);
  api[OUTPUT](context, (size_t)0, dimensions, rank, &output);
  api[TENSOR_DATA](input, &x);
  api[TENSOR_DATA](output, &y);
  for (size_t i = 0; i < elements; i++) y[i] = FACTOR * x[i];
}

static const struct {
  uint32_t version;
  void *(*create_kernel)(const void *, const void *, const void *);
  const char *(*name)(const void *);
  const char *(*provider)(const void *);
  int (*input_type)(const void *, size_t);
  size_t (*inputs)(const void *);
  int (*output_type)(const void *, size_t);
  size_t (*outputs)(const void *);
  void (*compute)(void *, void *);
  void (*destroy)(void *);
  int (*input_characteristic)(const void *, size_t);
  int (*output_characteristic)(const void *, size_t);
} times = {VERSION, create_kernel, name,    provider, type,           one,
           type,    one,           compute, destroy,  characteristic, characteristic};

void *RegisterCustomOps(void *options, const base *given) {
  void *domain, *status;
  api = given->api(VERSION);
  if ((status = api[CREATE_DOMAIN]("tests", &domain))) return status;
  if ((status = api[ADD_OPERATOR](domain, &times))) return status;
  return api[ADD_DOMAIN](options, domain);
}
