// Schemas of what the model does for the OpenAPI document. Members of OpenAI's requests that would change nothing are not listed; they are
// accepted and ignored.
#include "apps/server/openapi.h"

namespace gritstone {

const std::string_view kOpenApiModelSchemas = R"json({
"Error": {
  "type": "object", "required": ["error"],
  "properties": {"error": {"type": "object", "required": ["message", "type", "param", "code"], "properties": {
    "message": {"type": "string"}, "type": {"type": "string"}, "param": {"type": ["string", "null"], "description": "the member of the request that is wrong"},
    "code": {"type": ["string", "integer", "null"]}}}}
},
"Status": {"type": "object", "required": ["status"], "properties": {"status": {"enum": ["ok", "ready"]}}},
"Model": {
  "type": "object", "required": ["id", "object", "created", "owned_by"],
  "properties": {"id": {"type": "string"}, "object": {"const": "model"}, "created": {"type": "integer"}, "owned_by": {"type": "string"}}
},
"ModelList": {
  "type": "object", "required": ["object", "data"],
  "properties": {"object": {"const": "list"}, "data": {"type": "array", "items": {"$ref": "#/components/schemas/Model"}}}
},
"Usage": {
  "type": "object", "required": ["prompt_tokens", "completion_tokens", "total_tokens"],
  "properties": {"prompt_tokens": {"type": "integer"}, "completion_tokens": {"type": "integer"}, "total_tokens": {"type": "integer"},
    "prompt_tokens_details": {"type": "object", "properties": {"cached_tokens": {"type": "integer"}}}}
},
"Timings": {"type": "object", "description": "Gritstone: milliseconds by stage", "additionalProperties": {"type": ["number", "null"]}},
"EmbeddingRequest": {
  "type": "object", "required": ["input"],
  "properties": {
    "input": {"anyOf": [
      {"type": "string", "minLength": 1},
      {"type": "array", "minItems": 1, "maxItems": 2048, "items": {"type": "string", "minLength": 1}},
      {"type": "array", "minItems": 1, "items": {"type": "integer", "minimum": 0}},
      {"type": "array", "minItems": 1, "maxItems": 2048, "items": {"type": "array", "minItems": 1, "items": {"type": "integer", "minimum": 0}}}]},
    "model": {"type": ["string", "null"], "maxLength": 512}, "encoding_format": {"enum": ["float", "base64", null]},
    "dimensions": {"type": ["integer", "null"], "minimum": 1, "maximum": 1048576, "description": "the model's own, or left out"},
    "input_type": {"enum": ["query", "document", null], "description": "Gritstone: GRIT writes them differently"},
    "instruction": {"type": ["string", "null"], "maxLength": 1024, "description": "Gritstone: of a query"},
    "truncate": {"type": ["boolean", "null"], "description": "Gritstone: cuts texts that are too long instead of refusing them"}
  }
},
"Embeddings": {
  "type": "object", "required": ["object", "data", "model", "usage"],
  "properties": {
    "object": {"const": "list"}, "model": {"type": "string"},
    "data": {"type": "array", "items": {"type": "object", "required": ["object", "index", "embedding"], "properties": {
      "object": {"const": "embedding"}, "index": {"type": "integer"},
      "embedding": {"anyOf": [{"type": "array", "items": {"type": "number"}}, {"type": "string", "description": "base64 of little-endian f32"}]}}}},
    "usage": {"type": "object", "required": ["prompt_tokens", "total_tokens"], "properties": {"prompt_tokens": {"type": "integer"}, "total_tokens": {"type": "integer"}}},
    "truncated": {"type": "integer", "description": "Gritstone: texts that were cut"}, "timings": {"$ref": "#/components/schemas/Timings"}
  }
},
"Stop": {"anyOf": [{"type": "string", "minLength": 1, "maxLength": 64}, {"type": "array", "maxItems": 4, "items": {"type": "string", "minLength": 1, "maxLength": 64}}, {"type": "null"}]},
"StreamOptions": {"type": ["object", "null"], "properties": {"include_usage": {"type": ["boolean", "null"]}}},
"Event": {"type": "object", "description": "of a stream", "required": ["data"], "properties": {"event": {"type": "string"}, "data": {"type": "string"}}},
"Sampling": {
  "type": "object",
  "not": {"required": ["max_tokens", "max_completion_tokens"], "properties": {"max_tokens": {"type": "integer"}, "max_completion_tokens": {"type": "integer"}}},
  "if": {"required": ["stream_options"], "properties": {"stream_options": {"type": "object"}}},
  "then": {"required": ["stream"], "properties": {"stream": {"const": true}}},
  "properties": {
    "max_tokens": {"type": ["integer", "null"], "minimum": 1, "maximum": 4096},
    "max_completion_tokens": {"type": ["integer", "null"], "minimum": 1, "maximum": 4096},
    "temperature": {"type": ["number", "null"], "minimum": 0, "maximum": 2}, "top_p": {"type": ["number", "null"], "minimum": 0, "maximum": 1},
    "min_p": {"type": ["number", "null"], "minimum": 0, "maximum": 0.999, "description": "Gritstone"},
    "repetition_penalty": {"type": ["number", "null"], "minimum": 0.1, "maximum": 10, "description": "Gritstone"},
    "seed": {"type": ["integer", "null"], "minimum": -9007199254740991, "maximum": 9007199254740991},
    "stop": {"$ref": "#/components/schemas/Stop"}, "stream": {"type": ["boolean", "null"]},
    "stream_options": {"$ref": "#/components/schemas/StreamOptions"}, "n": {"enum": [1, null]}
  }
},
"ChatMessage": {
  "type": "object", "required": ["role", "content"],
  "properties": {
    "role": {"enum": ["system", "developer", "user", "assistant"]},
    "content": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "object", "required": ["type", "text"], "properties": {
      "type": {"const": "text"}, "text": {"type": "string"}}}}]}
  }
},
"ChatRequest": {
  "description": "System messages come first; users and assistants take turns; the last message is the user's.",
  "allOf": [{"$ref": "#/components/schemas/Sampling"}],
  "type": "object", "required": ["messages"],
  "properties": {
    "messages": {"type": "array", "minItems": 1, "maxItems": 2048, "items": {"$ref": "#/components/schemas/ChatMessage"}},
    "model": {"type": ["string", "null"], "maxLength": 512, "description": "gritstone/NAME answers from a collection"},
    "collection": {"type": ["string", "null"], "maxLength": 64, "description": "Gritstone: answers from this collection"},
    "max_num_results": {"type": ["integer", "null"], "minimum": 1, "maximum": 50, "description": "Gritstone: passages of an answer from a collection"},
    "rerank": {"type": ["integer", "null"], "minimum": 0, "maximum": 50, "description": "Gritstone: the best so many passages are ordered again by how likely the model finds the question after them; 0: not"},
    "passage_tokens": {"type": ["integer", "null"], "minimum": 0, "maximum": 1048576, "description": "Gritstone: of every passage at most; 0: whole passages"},
    "ttft_budget_ms": {"type": ["number", "null"], "minimum": 1, "maximum": 3600000, "description": "Gritstone: an answer from a collection is to begin within it"}
  }
},
"ChatCompletion": {
  "type": "object", "required": ["id", "object", "created", "model", "choices", "usage"],
  "properties": {
    "id": {"type": "string"}, "object": {"const": "chat.completion"}, "created": {"type": "integer"}, "model": {"type": "string"},
    "system_fingerprint": {"type": "string"},
    "choices": {"type": "array", "items": {"type": "object", "required": ["index", "message", "logprobs", "finish_reason"], "properties": {
      "index": {"type": "integer"}, "logprobs": {"type": "null"}, "finish_reason": {"enum": ["stop", "length"]},
      "message": {"type": "object", "required": ["role", "content", "refusal"], "properties": {
        "role": {"const": "assistant"}, "content": {"type": "string"}, "refusal": {"type": "null"},
        "annotations": {"type": "array", "items": {"type": "object", "required": ["type"], "properties": {"type": {"const": "file_citation"}}}}}}}}},
    "usage": {"$ref": "#/components/schemas/Usage"}, "timings": {"$ref": "#/components/schemas/Timings"},
    "gritstone": {"type": "object", "description": "Gritstone: of an answer from a collection, as /v1/answer has it"}
  }
},
"CompletionRequest": {
  "allOf": [{"$ref": "#/components/schemas/Sampling"}],
  "type": "object", "required": ["prompt"],
  "properties": {
    "prompt": {"anyOf": [{"type": "string", "minLength": 1}, {"type": "array", "minItems": 1, "maxItems": 1, "items": {"type": "string", "minLength": 1}},
      {"type": "array", "minItems": 1, "items": {"type": "integer", "minimum": 0}}]},
    "model": {"type": ["string", "null"], "maxLength": 512}, "echo": {"type": ["boolean", "null"]}, "best_of": {"enum": [1, null]}
  }
},
"Completion": {
  "type": "object", "required": ["id", "object", "created", "model", "choices", "usage"],
  "properties": {
    "id": {"type": "string"}, "object": {"const": "text_completion"}, "created": {"type": "integer"}, "model": {"type": "string"},
    "choices": {"type": "array", "items": {"type": "object", "required": ["index", "text", "logprobs", "finish_reason"], "properties": {
      "index": {"type": "integer"}, "text": {"type": "string"}, "logprobs": {"type": "null"}, "finish_reason": {"enum": ["stop", "length"]}}}},
    "usage": {"$ref": "#/components/schemas/Usage"}, "timings": {"$ref": "#/components/schemas/Timings"}
  }
},
"RerankRequest": {
  "type": "object", "required": ["query", "documents"],
  "properties": {
    "query": {"type": "string", "minLength": 1, "maxLength": 16384},
    "documents": {"type": "array", "minItems": 1, "maxItems": 1000, "items": {"anyOf": [{"type": "string"},
      {"type": "object", "required": ["text"], "properties": {"text": {"type": "string", "minLength": 1}}}]}},
    "model": {"type": ["string", "null"], "maxLength": 512}, "top_n": {"type": ["integer", "null"], "minimum": 1, "maximum": 1000000},
    "return_documents": {"type": ["boolean", "null"]},
    "method": {"enum": ["auto", "cosine", "likelihood", null], "description": "Gritstone: cosine of embeddings, or likelihood of the query given the document"}
  }
},
"Ranking": {
  "type": "object", "required": ["object", "model", "results", "usage"],
  "properties": {
    "id": {"type": "string"}, "object": {"const": "list"}, "model": {"type": "string"}, "method": {"enum": ["cosine", "likelihood"]},
    "results": {"type": "array", "items": {"type": "object", "required": ["index", "relevance_score"], "properties": {
      "index": {"type": "integer"}, "relevance_score": {"type": "number"},
      "document": {"type": "object", "required": ["text"], "properties": {"text": {"type": "string"}}}}}},
    "usage": {"type": "object", "properties": {"prompt_tokens": {"type": "integer"}, "total_tokens": {"type": "integer"}}},
    "timings": {"$ref": "#/components/schemas/Timings"}
  }
},
"AnswerRequest": {
  "allOf": [{"$ref": "#/components/schemas/Sampling"}],
  "type": "object", "required": ["question"], "anyOf": [{"required": ["collection"]}, {"required": ["model"]}],
  "properties": {
    "question": {"type": "string", "minLength": 1, "maxLength": 16384}, "collection": {"type": "string", "minLength": 1, "maxLength": 64},
    "model": {"type": "string", "maxLength": 512, "description": "gritstone/NAME, instead of collection"},
    "top_k": {"type": ["integer", "null"], "minimum": 1, "maximum": 50, "description": "passages offered to the model"},
    "sampler_top_k": {"type": ["integer", "null"], "minimum": 0, "maximum": 1000000},
    "mode": {"enum": ["fused", "dense", "bm25", null]}, "layout": {"enum": ["docs-first", "query-first", null]},
    "reuse": {"type": ["string", "null"], "maxLength": 64, "description": "none, exact, chunks, first=K, blend=R or auto"},
    "abstain": {"type": ["boolean", "null"], "description": "false: the model always answers"},
    "rerank": {"type": ["integer", "null"], "minimum": 0, "maximum": 50, "description": "the best so many passages are ordered again by how likely the model finds the question after them; 0: not"},
    "passage_tokens": {"type": ["integer", "null"], "minimum": 0, "maximum": 1048576, "description": "of every passage at most; 0: whole passages"},
    "ttft_budget_ms": {"type": ["number", "null"], "minimum": 1, "maximum": 3600000, "description": "until the first token: passages, their length and reuse are chosen so that it comes in time"},
    "filters": {"anyOf": [{"type": "string", "description": "path:GLOB type:md after:2024-01-31 KEY=VALUE"}, {"$ref": "#/components/schemas/Filter"}, {"type": "null"}]},
    "instruction": {"type": ["string", "null"], "maxLength": 4096}
  }
},
"Citation": {
  "type": "object", "required": ["n", "path", "heading", "page", "start", "end", "text", "strength"],
  "properties": {
    "n": {"type": "integer"}, "file_id": {"type": "string"}, "path": {"type": "string"}, "heading": {"type": "string"},
    "page": {"type": ["integer", "null"]}, "start": {"type": "integer", "description": "first byte in the file"}, "end": {"type": "integer"},
    "text": {"type": "string"}, "strength": {"type": "number"}
  }
},
"Passage": {
  "type": "object", "required": ["n", "path", "heading", "start", "end", "text", "score"],
  "properties": {
    "n": {"type": "integer"}, "file_id": {"type": "string"}, "path": {"type": "string"}, "heading": {"type": "string"},
    "start": {"type": "integer"}, "end": {"type": "integer"}, "text": {"type": "string"}, "score": {"type": "number"}
  }
},
"Answer": {
  "type": "object", "required": ["id", "object", "created", "model", "question", "answer", "citations", "abstained", "passages", "dropped", "usage", "generation", "timings", "reuse"],
  "properties": {
    "id": {"type": "string"}, "object": {"const": "answer"}, "created": {"type": "integer"}, "model": {"type": "string"},
    "collection": {"type": "string"}, "wait_ms": {"type": "number", "description": "until a slot was free"}, "question": {"type": "string"}, "answer": {"type": "string"}, "abstained": {"type": "boolean"}, "abstain_reason": {"type": "string"},
    "withheld": {"type": "string", "description": "what the model wrote, where no passage supports it"},
    "citations": {"type": "array", "items": {"$ref": "#/components/schemas/Citation"}},
    "sentences": {"type": "array", "items": {"type": "object", "properties": {"start": {"type": "integer"}, "end": {"type": "integer"},
      "supported": {"type": "boolean"}, "citations": {"type": "array", "items": {"type": "integer"}}}}},
    "passages": {"type": "array", "items": {"$ref": "#/components/schemas/Passage"}},
    "dropped": {"type": "array", "description": "passages that were found and did not fit, into the context or the time", "items": {"type": "object"}},
    "finish_reason": {"enum": ["stop", "length"]}, "usage": {"type": "object"},
    "generation": {"type": "integer", "description": "of the collection that was read"},
    "timings": {"$ref": "#/components/schemas/Timings"}, "reuse": {"type": "object"},
    "budget": {"type": ["object", "null"], "description": "what ttft_budget_ms led to, and whether it was kept"}
  }
}
})json";

}  // namespace gritstone
