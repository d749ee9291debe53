"""What every part of holdfast must agree on; imports the standard library and pydantic, nothing else.

- `names`: headers, labels, subjects, paths, environment variables and ports.
- `document`: the endpoint document, which tells gateway, scaler, worker and page what exists.
- `platform`: the platform contract, which the shared stack exports and endpoint stacks read.
- `messages`: what travels through the queue, and the states of a request.
- `problems`: every error of the HTTP interface, with its cause and remedy.
- `tokens`: how tokens are made, hashed and compared.
"""
