output "function_name" {
  description = "The function"
  value       = aws_lambda_function.function.function_name
}
